"""Whose time is it? A server trace as a line of time on which every nanosecond has one owner.

CoreDNS's plugins call one another, so their spans nest, and a plugin's own time is its span less
its children's. Real traces are not that tidy: each start and duration is rounded to a microsecond,
a child may outlive its parent (prefetch, serve_stale), siblings may overlap, a middle may be lost.
The line settles each such case once, so that own times always add up to the root's duration.
"""

from collections.abc import Sequence
from typing import Final

from otel_dns.model import ROUNDING_NS, ServerTrace, Slice, Span, Timeline

_NEAR: Final = 64
"""Spans before one among which the one around it is looked for: CoreDNS has no deeper chains."""


def timeline(trace: ServerTrace) -> Timeline:
    """Lay a server trace out as slices without gap or overlap from the root's start to its end.

    The innermost span owns its time; what lies outside its parent is cut off; of overlapping
    siblings the earlier keeps what it has. A span whose parent is not there belongs to the
    innermost one around it, and so does one that starts only after its parent (forward's ``next``:
    CoreDNS calls the next plugin from within the exchange that had failed).
    """
    return _nested(trace.spans) or add_up(trace.spans, _slices(trace))


def add_up(spans: tuple[Span, ...], slices: Sequence[Slice]) -> Timeline:
    """Make a timeline of slices: each span's own time is what its slices are long."""
    own: dict[bytes, int] = {}
    for piece in slices:
        span_id = piece.span.span_id
        own[span_id] = own.get(span_id, 0) + piece.end_ns - piece.start_ns
    names = tuple([span.name for span in spans])
    return Timeline(spans, names, tuple([own.get(span.span_id, 0) for span in spans]), slices)


def _slices(trace: ServerTrace) -> list[Slice]:
    root = trace.root
    known = {span.span_id: span for span in trace.spans}
    children: dict[bytes, list[Span]] = {}
    for number, span in enumerate(trace.spans[1:], 1):
        parent_id = span.parent_id
        parent = known.get(parent_id)
        if parent is None or span.start_ns >= parent.end_ns:
            around = _around(span, trace.spans[max(number - _NEAR, 0) : number]) or parent or root
            parent_id = around.span_id
        children.setdefault(parent_id, []).append(span)  # spans come in order of start
    slices: list[Slice] = []
    # One entry for each span that is open: the span, its children yet to come, its end.
    # A span is entered once, so a loop of parents (hostile input) is never walked.
    position = root.start_ns
    open_spans = [(root, iter(children.pop(root.span_id, ())), max(root.end_ns, root.start_ns))]
    while open_spans:
        span, rest, end = open_spans[-1]
        child = next(rest, None)
        if child is None:
            if end > position:
                slices.append(Slice(position, end, span))
                position = end
            open_spans.pop()
            continue
        child_start, child_end = max(child.start_ns, position), min(child.end_ns, end)
        if child_end <= child_start:
            continue
        if child_start > position:
            slices.append(Slice(position, child_start, span))
            position = child_start
        open_spans.append((child, iter(children.pop(child.span_id, ())), child_end))
    return slices


def _around(span: Span, before: Sequence[Span]) -> Span | None:
    """Find the innermost span around another."""
    around = [
        one
        for one in before
        if one.end_ns + ROUNDING_NS >= span.end_ns
        and (one.start_ns < span.start_ns or one.end_ns > span.end_ns)
    ]
    return min(around, key=lambda one: (one.end_ns, -one.start_ns), default=None)


def _nested(spans: tuple[Span, ...]) -> Timeline | None:
    """Lay out a trace in which each span is called by the one before, and ends within it.

    That is nearly every trace; None for any other. The same as the general way, at a fraction.
    """
    own: list[int] = []
    together = False
    outer = spans[0]
    parent_id, outer_start_ns, outer_end_ns = outer.span_id, outer.start_ns, outer.end_ns
    for span in spans[1:]:
        start_ns, end_ns = span.start_ns, span.end_ns
        if span.parent_id != parent_id or not (outer_start_ns <= start_ns < end_ns <= outer_end_ns):
            return None
        if start_ns == outer_start_ns:
            together = True
        own.append(start_ns - outer_start_ns + outer_end_ns - end_ns)
        parent_id, outer_start_ns, outer_end_ns = span.span_id, start_ns, end_ns
    own.append(max(outer_end_ns - outer_start_ns, 0))
    names = tuple([span.name for span in spans])
    return Timeline(spans, names, tuple(own), together=together)
