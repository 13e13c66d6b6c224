"""How a lookup ended, in one word."""

from typing import Final

from otel_dns import semconv
from otel_dns.join.breakdown import TIMEOUT_NS
from otel_dns.model import Join, Lookup

_OUTCOME_OF_ERROR: Final = {
    "": semconv.OUTCOME_OK,
    semconv.ERROR_HOST_NOT_FOUND: semconv.OUTCOME_NOT_FOUND,
    semconv.ERROR_NO_DATA: semconv.OUTCOME_NOT_FOUND,
    semconv.ERROR_TIMEOUT: semconv.OUTCOME_TIMEOUT,
}
_FAILURES: Final = frozenset({"SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"})


def outcome_of(lookup: Lookup, join: Join) -> str:
    """Name how a lookup ended: ``semconv.OUTCOME_...``.

    The C library's "try again" is a server's failure as well as a timeout; the joined server traces
    tell them apart, and without any the time does: an answer comes faster than a timeout.
    """
    if lookup.error_type != semconv.ERROR_TRY_AGAIN:
        return _OUTCOME_OF_ERROR.get(lookup.error_type, semconv.OUTCOME_ERROR)
    if any(joined.trace.rcode in _FAILURES for joined in join.traces):
        return semconv.OUTCOME_SERVER_FAILURE
    if lookup.end_ns - lookup.start_ns >= TIMEOUT_NS:
        return semconv.OUTCOME_TIMEOUT
    return semconv.OUTCOME_ERROR
