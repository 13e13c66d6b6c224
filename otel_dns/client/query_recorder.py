"""Spans and measurements of queries on the wire, for libraries that let them be seen."""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from time import perf_counter_ns, time_ns
from typing import Any, Final, NamedTuple

from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
)

from otel_dns import semconv
from otel_dns.client.details import Attributes
from otel_dns.client.fast_path import suppressed
from otel_dns.client.names_bound import sendable
from otel_dns.client.recorder import LeftOut, Recorder, current, duration_histogram
from otel_dns.client.stub import SourceAddresses

_MAX_QUESTIONS: Final = 256
"""Of one lookup; a hundred is far more than any resolver asks."""
_WILDCARDS: Final = {"", "0.0.0.0", "::"}  # noqa: S104 - an address to compare with


class Query(NamedTuple):
    """One query, before it is sent."""

    message: object
    """What is sent: the same object is the same query, whichever function it is handed through."""
    name: str
    type: str
    transport: str
    """``semconv.TRANSPORT_...``."""
    server: str
    """Address, or the name in a URL."""
    port: int
    api: str
    """The function called, by its public name."""
    kind: str
    """``semconv.RESOLVER_KIND``'s value."""


class Response(NamedTuple):
    """What came of a query."""

    dns_id: int | None = None
    response_code: str | None = None
    truncated: bool = False
    size: int | None = None
    """Bytes."""
    error_type: str | None = None


class Exchange:
    """A query between its begin and its end."""

    __slots__ = (
        "client",
        "clock",
        "marks",
        "message",
        "over",
        "peer",
        "query",
        "question",
        "questions",
        "size",
        "span",
        "started_at",
        "token",
    )

    def __init__(
        self, query: Query, span: Span, questions: dict[object, int] | None, started_at: int
    ) -> None:
        self.query = query
        self.message = query.message
        self.span = span
        self.questions = questions
        self.over = False
        self.client: tuple[str, int] | None = None
        self.peer: tuple[str, int] | None = None
        self.size: int | None = None
        self.marks: tuple[str, ...] = ()
        self.token: Token[Exchange | None] | None = None
        self.started_at = started_at
        self.clock = perf_counter_ns()


_exchange: ContextVar[Exchange | None] = ContextVar("otel_dns_query", default=None)
"""The query that this thread or task is sending."""
_direct: ContextVar[dict[object, int] | None] = ContextVar("otel_dns_questions", default=None)
"""What was asked by one call of the application's that makes several queries without a lookup."""


def sending() -> Exchange | None:
    """Return the query that this thread or task is sending."""
    exchange = _exchange.get()
    return None if exchange is None or exchange.over else exchange


class QueryRecorder:
    """Makes a span and a measurement of every query that it is told about."""

    def __init__(self, recorder: Recorder, addresses: SourceAddresses) -> None:
        """Make the instruments.

        Args:
            recorder: Who records the lookups.
            addresses: Where the source address towards a nameserver is known.
        """
        self.recorder = recorder
        self.settings = recorder.settings
        self._addresses = addresses
        meter = recorder.meter
        self._durations = duration_histogram(
            meter,
            semconv.CLIENT_QUERY_DURATION,
            "Time until the answer to a DNS query, or until it failed.",
        )
        self._resends = meter.create_counter(
            semconv.CLIENT_QUERY_RESENDS,
            unit="{query}",
            description="DNS queries that repeat a question of the same lookup.",
        )
        self._tcp_fallbacks = meter.create_counter(
            semconv.CLIENT_QUERY_TCP_FALLBACKS,
            unit="{query}",
            description="DNS queries sent over TCP because the answer over UDP was truncated.",
        )

    @property
    def awake(self) -> bool:
        """Whether queries are to be read at all."""
        return self.recorder.awake or self.recorder.wake()

    def begin(self, query: Query) -> Exchange | None:
        """Start to record a query.

        Args:
            query: What is about to be sent.

        Returns:
            The recording, to be ended by `end`; nothing when instrumentation is suppressed here,
            or the lookup is left out, or the query is being recorded already.
        """
        if suppressed():
            return None
        outer = sending()
        if outer is not None and outer.message is query.message:
            return None
        lookup = current()
        if isinstance(lookup, LeftOut):
            return None
        excluded = self.settings.excluded
        if lookup is None and excluded is not None and excluded(query.name):
            return None
        attributes: Attributes = {
            semconv.DNS_QUESTION_NAME: sendable(query.name),
            semconv.DNS_QUESTION_TYPE: query.type,
            semconv.QUERY_TRANSPORT: query.transport,
            semconv.SERVER_ADDRESS: sendable(query.server),
            semconv.SERVER_PORT: query.port,
        }
        if lookup is None:
            # The application's own, so it is a lookup too: the processor joins it as one.
            attributes[semconv.LOOKUP_API] = query.api
            attributes[semconv.RESOLVER_KIND] = query.kind
            questions = _direct.get()
        else:
            if lookup.questions is None:
                lookup.questions = {}
            questions = lookup.questions
        if questions is not None:
            self._count(query, questions, attributes)
        started_at = time_ns()
        span = self._start(attributes, started_at, outer, None if lookup is None else lookup.span)
        exchange = Exchange(query, span, questions, started_at)
        exchange.token = _exchange.set(exchange)
        return exchange

    def _start(
        self,
        attributes: Attributes,
        started_at: int,
        outer: Exchange | None,
        lookup: Span | None,
    ) -> Span:
        parent = get_current_span() if lookup is None else lookup
        if outer is not None and lookup is None:
            parent = outer.span
        valid = parent.get_span_context().is_valid
        if not valid and (lookup is not None or self.settings.require_parent):
            return INVALID_SPAN
        return self.recorder.tracer.start_span(
            semconv.QUERY_SPAN,
            set_span_in_context(parent) if valid else None,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=started_at,
        )

    def _count(self, query: Query, questions: dict[object, int], attributes: Attributes) -> None:
        question = (query.name, query.type)
        before = questions.get(question, 0)
        if before < 0:
            # Its last answer was truncated.
            attributes[semconv.QUERY_TCP_FALLBACK] = True
            self._tcp_fallbacks.add(1)
            questions[question] = -before
            return
        if before:
            attributes[semconv.QUERY_RESEND_COUNT] = before
            self._resends.add(1, {semconv.QUERY_TRANSPORT: query.transport})
        if before or len(questions) < _MAX_QUESTIONS:
            questions[question] = before + 1

    def end(self, exchange: Exchange, response: Response, failure: BaseException | None) -> None:
        """End the recording. Raises nothing.

        Args:
            exchange: What `begin` returned.
            response: What came of it.
            failure: What was raised, if it counts as a failure.
        """
        elapsed = perf_counter_ns() - exchange.clock
        exchange.over = True
        if exchange.token is not None:
            try:  # noqa: SIM105 - as in Ongoing.leave
                _exchange.reset(exchange.token)
            except ValueError:
                pass
        span = exchange.span
        try:
            if response.truncated:
                self._truncated(exchange)
            if span.is_recording():
                span.set_attributes(self._attributes_after(exchange, response))
                if failure is not None:
                    span.set_status(Status(StatusCode.ERROR, sendable(str(failure))))
            context = set_span_in_context(span) if span.is_recording() else None
            self._durations.record(elapsed / 1e9, _of_metric(exchange.query, response), context)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            self.recorder.failed(error)
        try:
            span.end(exchange.started_at + elapsed)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            self.recorder.failed(error)

    @staticmethod
    def _truncated(exchange: Exchange) -> None:
        questions, query = exchange.questions, exchange.query
        if questions is not None and query.transport == semconv.TRANSPORT_UDP:
            question = (query.name, query.type)
            questions[question] = -questions.get(question, 1)

    def _attributes_after(self, exchange: Exchange, response: Response) -> Attributes:
        attributes: Attributes = {}
        address, port = exchange.client or ("", 0)
        if address in _WILDCARDS:
            address = self._addresses.towards(exchange.query.server) or ""
        optional: Mapping[str, Any] = {
            semconv.CLIENT_ADDRESS: address.partition("%")[0],
            semconv.CLIENT_PORT: port,
            semconv.QUERY_SIZE: exchange.size,
            semconv.RESPONSE_SIZE: response.size,
            semconv.DNS_RESPONSE_CODE: response.response_code,
            semconv.ERROR_TYPE: response.error_type,
            semconv.QUERY_TRUNCATED: response.truncated,
            semconv.QUERY_MARKED: exchange.marks,
        }
        attributes.update({name: value for name, value in optional.items() if value})
        if response.dns_id is not None:
            attributes[semconv.DNS_ID] = response.dns_id
        if exchange.peer is not None:
            attributes[semconv.SERVER_ADDRESS], attributes[semconv.SERVER_PORT] = exchange.peer
        return attributes


def _of_metric(query: Query, response: Response) -> Attributes:
    attributes: Attributes = {semconv.QUERY_TRANSPORT: query.transport}
    if response.error_type is not None:
        attributes[semconv.ERROR_TYPE] = response.error_type
    elif response.response_code is not None:
        attributes[semconv.DNS_RESPONSE_CODE] = response.response_code
    return attributes


class Together:
    """Within it, queries that no lookup makes are those of one call: a repetition shows as such."""

    def __enter__(self) -> None:
        self._token = _direct.set({})

    def __exit__(self, *_: object) -> None:
        _direct.reset(self._token)
