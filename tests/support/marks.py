"""How the letter case of a name on the wire is read by whoever knows the span."""

from otel_dns.marks import begins, cased, letters


def letters_in_case(asked: str, name: str, trace_id: bytes, span_id: bytes) -> int:
    """How many letters of a name on the wire carry a span's mark; 0 if any contradicts it."""
    marked = cased(name.removesuffix("."), trace_id, span_id)
    return letters(marked) if begins(asked, marked) else 0
