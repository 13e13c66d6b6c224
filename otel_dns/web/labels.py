"""Names of the project's words as people read them."""

from typing import Final

from otel_dns import semconv

_SEGMENT_LABELS: Final = {
    semconv.SEGMENT_STUB: "stub resolver",
    semconv.SEGMENT_NETWORK: "network",
    semconv.SEGMENT_STUB_NETWORK: "stub and network",
    semconv.SEGMENT_SERVER: "DNS server",
    semconv.SEGMENT_UPSTREAM: "upstream",
    semconv.SEGMENT_WAITING: "waiting, timeout",
    semconv.SEGMENT_UNATTRIBUTED: "unattributed",
}

SEGMENTS: Final = tuple(
    (name, _SEGMENT_LABELS.get(name, name.replace("_", " "))) for name in semconv.SEGMENTS
)
"""Each segment of a breakdown and its label, in order."""

CERTAINTIES: Final = (
    (semconv.CERTAINTY_SURE, "sure"),
    (semconv.CERTAINTY_GROUP, "one of a group"),
    (semconv.CERTAINTY_UNSURE, "unsure"),
    (semconv.METHOD_NONE, "not joined"),
)

OUTCOMES: Final = {
    semconv.OUTCOME_OK: "ok",
    semconv.OUTCOME_NOT_FOUND: "not found",
    semconv.OUTCOME_TIMEOUT: "timeout",
    semconv.OUTCOME_SERVER_FAILURE: "server failure",
    semconv.OUTCOME_ERROR: "error",
}

UNSEEN: Final = {
    semconv.UNSEEN_NOT_SAMPLED: "CoreDNS's spans: not sampled",
    semconv.UNSEEN_LOST: "CoreDNS's spans: lost on their way",
    semconv.UNSEEN_NOT_ARRIVED: "a query: no server got it, and the client waited",
    semconv.UNSEEN_NO_QUERY: "a query: none was needed",
    semconv.UNSEEN_NOT_TRACED: "CoreDNS's spans: it does not trace",
    semconv.UNSEEN_UNKNOWN: "anything at the servers, and why is not known",
}
"""Why CoreDNS's spans of a lookup are not there."""


def of(name: str) -> str:
    """The label of a segment, an outcome or a bottleneck."""
    if name.startswith("plugin:"):
        return f"plugin {name.removeprefix('plugin:')}"
    return OUTCOMES.get(name) or _SEGMENT_LABELS.get(name) or name.replace("_", " ")
