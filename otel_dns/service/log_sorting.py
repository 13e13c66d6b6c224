"""Log requests, sorted: the messages in them, and how many records told of none, and why."""

from collections import Counter

from otel_dns.model import Message
from otel_dns.service.sorting import Incoming
from otel_dns.wire import Refusals, otlp_logs

MESSAGE_BYTES = 700
"""What a message weighs in the pipeline's queue."""


def sort_logs(request: bytes) -> tuple[Incoming, Counter[str]]:
    """Sort the records of an OTLP log request.

    What tells of no query is counted and goes no further: a Collector keeps the logs as well.

    Returns:
        The messages, and counts by name.

    Raises:
        MalformedError: the request is not OTLP.
    """
    found: list[Message] = []
    counts: Counter[str] = Counter()
    for one in otlp_logs.messages(request):
        if isinstance(one, Message):
            found.append(one)
        else:
            counts[f"log_records_unused_{one.reason}"] += 1
    counts["log_messages"] += len(found)
    return Incoming([], [], [], Refusals(), found), counts
