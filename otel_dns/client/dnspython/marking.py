"""Marks on dnspython's messages, and responses as if there had been none.

The message that the application made stays as it is, since it may be in use elsewhere: a copy is
sent.
"""

import copy
from typing import Any, Final

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdatatype
import dns.rrset
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from otel_dns import marks, semconv

_ROOM: Final = 512 + 11
"""Payload for a query that has no EDNS of its own: what fits without, and the server's OPT record.
So exactly those answers are truncated that would be without a mark."""
_ANY_SIZE: Final = 65535
_OWN: Final = frozenset({"opt", "sections", "wire", "request_payload"})
"""Attributes in which the copy differs on purpose."""


class Marked:
    """A query that carries marks."""

    def __init__(self, plain: Any, message: Any, used: tuple[str, ...]) -> None:
        self._plain = plain
        self.message = message
        """What to send."""
        self.marks = used
        """``semconv.MARK_...``, at least one."""

    def restore(self, response: Any) -> None:
        """Give the application's message and the response the look that they would have.

        Args:
            response: What was received, if anything.
        """
        plain, sent = self._plain, self.message
        for name, value in vars(sent).items():
            if name not in _OWN and getattr(plain, name) is not value:
                setattr(plain, name, value)
        if sent.wire is not None and plain.tsig is None:
            plain.to_wire()  # which leaves its result in the message
        if isinstance(response, dns.message.Message):
            if semconv.MARK_EDNS in self.marks:
                _without_option(response, had_edns=plain.opt is not None)
            if semconv.MARK_CASE in self.marks:
                _in_plain_case(response, sent.question[0].name, plain.question[0].name)


def marked(message: Any, context: SpanContext, wanted: frozenset[str]) -> Marked | None:
    """Return a copy of a query that carries marks; nothing if this one is not to carry any.

    Args:
        message: What the application, or its resolver, wants to send.
        context: The query's span.
        wanted: ``semconv.MARK_...``.
    """
    if message.opcode() != dns.opcode.QUERY or len(message.question) != 1:
        return None
    trace_id, span_id = context.trace_id.to_bytes(16), context.span_id.to_bytes(8)
    sent = copy.copy(message)
    used = []
    if semconv.MARK_EDNS in wanted:
        _add_option(sent, marks.TraceContext(trace_id, span_id, context.trace_flags))
        used.append(semconv.MARK_EDNS)
    # A signature covers the name: the answer's could not be checked once the name is restored.
    if semconv.MARK_CASE in wanted and message.keyring is None:
        question = message.question[0]
        name = _cased(question.name, trace_id, span_id)
        if name is not None:
            sent.sections = [
                [dns.rrset.RRset(name, question.rdclass, question.rdtype)],
                *message.sections[1:],
            ]
            used.append(semconv.MARK_CASE)
    return Marked(message, sent, tuple(used)) if used else None


def b3_headers(context: SpanContext) -> dict[str, str]:
    """Return the headers by which CoreDNS's trace plugin takes a span as its parent.

    Args:
        context: The span. See openzipkin/b3-propagation, multiple headers.
    """
    return {
        "X-B3-TraceId": format_trace_id(context.trace_id),
        "X-B3-SpanId": format_span_id(context.span_id),
        "X-B3-Sampled": "1" if context.trace_flags.sampled else "0",
    }


def _add_option(message: Any, context: marks.TraceContext) -> None:
    code = dns.edns.OptionType.make(marks.TRACEPARENT_OPTION)
    option = dns.edns.GenericOption(code, marks.encode_traceparent(context))
    if message.opt is None:
        message.use_edns(0, 0, _ROOM, request_payload=_ANY_SIZE, options=[option])
    else:
        message.use_edns(
            message.edns,
            message.ednsflags,
            message.payload,
            message.request_payload,
            [*message.options, option],
            message.pad,
        )


def _without_option(response: Any, *, had_edns: bool) -> None:
    """Take out what only came because of the mark."""
    opt = response.opt
    if opt is None:
        return
    if not had_edns and response.rcode() <= 0xF:
        response.opt = None
        return
    options = opt[0].options
    kept = tuple(one for one in options if one.otype != marks.TRACEPARENT_OPTION)
    if len(kept) != len(options):
        response.opt = dns.rrset.from_rdata(opt.name, opt.ttl, opt[0].replace(options=kept))


def _cased(name: dns.name.Name, trace_id: bytes, span_id: bytes) -> dns.name.Name | None:
    """Return a name in a span's letter case; nothing if it has no letters, or is no plain name."""
    text = b".".join(name.labels).decode("latin-1")
    if any(b"." in label for label in name.labels) or not name.is_absolute():
        return None
    cased = marks.cased(text, trace_id, span_id)
    if cased.upper() == cased.lower():
        return None
    return dns.name.Name(cased.encode("latin-1").split(b"."))


def _in_plain_case(response: Any, sent: dns.name.Name, plain: dns.name.Name) -> None:
    """Put names that the server took from the question into the case that was asked for."""

    def restored(name: dns.name.Name) -> dns.name.Name:
        # As far as they agree from the root on, letter by letter: servers compress names by
        # pointing into the question.
        same = 0
        for ours, theirs in zip(reversed(sent.labels), reversed(name.labels), strict=False):
            if ours != theirs:
                break
            same += 1
        kept = len(name.labels) - same
        labels = name.labels[:kept] + plain.labels[len(plain.labels) - same :]
        return name if labels == name.labels else dns.name.Name(labels)

    for section in response.sections:
        for rrset in section:
            rrset.name = restored(rrset.name)
            if rrset.rdtype != dns.rdatatype.OPT and len(rrset):
                rrset.items = dict.fromkeys(_restored_data(rdata, restored) for rdata in rrset)
    wire = getattr(response, "wire", None)
    if wire:
        question, plain_wire = sent.to_wire(), plain.to_wire()
        if question is not None and plain_wire is not None:
            # The question is the first thing after the header.
            end = 12 + len(question)
            if wire[12:end] == question:
                response.wire = wire[:12] + plain_wire + wire[end:]


def _restored_data(rdata: Any, restored: Any) -> Any:
    changed = {}
    for cls in type(rdata).__mro__:
        for slot in getattr(cls, "__slots__", ()):
            value = getattr(rdata, slot, None)
            if isinstance(value, dns.name.Name):
                new = restored(value)
                if new is not value:
                    changed[slot] = new
    return rdata.replace(**changed) if changed else rdata
