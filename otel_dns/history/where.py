"""Which resolutions a question is about."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from otel_dns import semconv
from otel_dns.history.columns import DIMENSIONS

if TYPE_CHECKING:  # the command line's help needs its words, and no engine
    import ibis.expr.types as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Resolutions that all of these hold for; what is None or empty is not asked."""

    since_ns: int | None = None
    """Start at or after, nanoseconds since the epoch."""
    until_ns: int | None = None
    """Start before."""
    cluster: str = ""
    namespace: str = ""
    service: str = ""
    pod: str = ""
    node: str = ""
    container: str = ""
    client: str = ""
    name: str = ""
    """As the application asked for it; with ``*`` for any characters."""
    name_part: str = ""
    """A part of it, in any letter case."""
    type: str = ""
    api: str = ""
    resolver: str = ""
    nameserver: str = ""
    outcome: str = ""
    error_type: str = ""
    bottleneck: str = ""
    latency_class: str = ""
    method: str = ""
    certainty: str = ""
    unseen: str = ""
    """Why CoreDNS's spans of it are not there."""
    plugin: str = ""
    """A plugin that at least one of its queries went through."""
    server: str = ""
    """An instance that answered at least one of its queries."""
    upstream: str = ""
    """An upstream that at least one of its queries went to: ``address:port``, or the address."""
    failed: bool | None = None
    """Ended without an answer (a name that does not exist is an answer)."""
    joined: bool | None = None
    """Joined with what a DNS server did."""
    wasteful: bool | None = None
    """Spent queries on the search list."""
    inferred: bool | None = None
    """Known by server evidence alone."""
    min_ns: int | None = None
    """Duration of at least; inferred lookups have none."""
    max_ns: int | None = None
    namespaces: frozenset[str] | None = None
    """Only these: what a token may see. Empty: nothing."""

    def apply(self, lookups: "ir.Table") -> "ir.Table":
        """Keep the resolutions that this is about."""
        import ibis  # noqa: PLC0415 see above

        kept = [*self._times(lookups), *self._texts(lookups), *self._kinds(lookups)]
        if self.namespaces is not None:
            kept.append(lookups.namespace.isin(sorted(self.namespaces)))
        if self.plugin:
            kept.append(_any(lookups.plugins, "plugin", self.plugin))
        if self.server:
            kept.append(_any(lookups.hops, "server", self.server))
        if self.upstream:
            wanted, address = ibis.literal(self.upstream), ibis.literal(self.upstream) + ":"
            went = lookups.exchanges.map(
                lambda one: (one["upstream"] == wanted) | one["upstream"].startswith(address)
            )
            kept.append(went.contains(True))
        return lookups.filter(*kept) if kept else lookups

    def parameters(self) -> dict[str, str | int]:
        """Give the values that :meth:`apply` compares with, by field, as it writes them.

        All else is the shape of the condition: equal for all that differ in these alone.
        """
        given: dict[str, str | int] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                given[field.name] = value
        if "*" in self.name:
            given["name"] = _pattern(self.name)
        if self.name_part:
            given["name_part"] = self.name_part.lower()
        return given

    def _times(self, lookups: "ir.Table") -> "list[ir.BooleanValue]":
        kept = []
        if self.since_ns is not None:
            kept.append(lookups.start_ns >= self.since_ns)
        if self.until_ns is not None:
            kept.append(lookups.start_ns < self.until_ns)
        if self.min_ns is not None:
            kept += [lookups.duration_ns >= self.min_ns, ~lookups.inferred]
        if self.max_ns is not None:
            kept += [lookups.duration_ns <= self.max_ns, ~lookups.inferred]
        return kept

    def _texts(self, lookups: "ir.Table") -> "list[ir.BooleanValue]":
        kept = []
        for dimension in DIMENSIONS:
            value: str = getattr(self, dimension)
            if dimension == "name" and "*" in value:
                kept.append(lookups.name.re_search(_pattern(value)))
            elif value:
                kept.append(lookups[dimension] == value)
        if self.name_part:
            kept.append(lookups.name.lower().contains(self.name_part.lower()))
        return kept

    def _kinds(self, lookups: "ir.Table") -> "list[ir.BooleanValue]":
        kept = []
        if self.failed is not None:
            failed = failed_of(lookups)
            kept.append(failed if self.failed else ~failed)
        if self.joined is not None:
            joined = lookups.method != semconv.METHOD_NONE
            kept.append(joined if self.joined else ~joined)
        if self.wasteful is not None:
            wasteful = lookups.waste_queries > 0
            kept.append(wasteful if self.wasteful else ~wasteful)
        if self.inferred is not None:
            kept.append(lookups.inferred if self.inferred else ~lookups.inferred)
        return kept


def failed_of(lookups: "ir.Table") -> "ir.BooleanValue":
    """Whether a lookup ended without an answer: that a name does not exist is an answer."""
    return lookups.outcome.notin((semconv.OUTCOME_OK, semconv.OUTCOME_NOT_FOUND))


def is_joined(lookups: "ir.Table") -> "ir.BooleanValue":
    """Tell the lookups that are joined with what a DNS server did."""
    return lookups.method != semconv.METHOD_NONE


def _any(structs: "ir.ArrayValue", field: str, value: str) -> "ir.BooleanValue":
    return structs.map(lambda struct: struct[field]).contains(value)


def _pattern(value: str) -> str:
    """A regular expression that RE2 and Java read alike; LIKE's escapes differ by engine."""

    def literal(char: str) -> str:
        if char == "*":
            return ".*"
        if char.isalnum() or char in "-_:/%@ ":
            return char
        # What engines or their SQL escape differently stands for any one character.
        return f"[{char}]" if char in ".+()|{}$" else "."

    return f"^{''.join(map(literal, value))}$"


__all__ = ["Where", "failed_of", "is_joined"]
