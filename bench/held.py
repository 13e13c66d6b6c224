"""What waits in the join where few Pods are instrumented, with and without early release.

Time is simulated, so the figures are exact and the machine does not matter: 500 Pods, 200 queries a
second traced in full (nine spans), defaults of ``otel-dns serve``; looked at when all has come to
rest, after eight minutes.

    python -m bench.held            a table
    python -m bench.held --json     one flat object
"""

import argparse
from itertools import islice

from msgspec.structs import replace

from bench import core
from bench.figures import show
from otel_dns.service.configuration.settings import JoinSection
from otel_dns.service.sorting import sort_otlp
from otel_dns.service.stream import Stream
from otel_dns.wire import otlp

PODS = 500
PER_SECOND = 200
SECONDS = 480
TICK_NS = core.SECOND // 10


def held(instrumented: float, *, early: bool) -> dict[str, int]:
    """What is held in the end, where so many of the Pods send lookups."""
    section = JoinSection() if early else replace(JoinSection(), silent_after=None)
    stream = Stream(section.settings(), lambda _request, _spans: None)
    coming = core.traces(PER_SECOND * SECONDS, PODS)
    number = now_ns = 0
    while some := list(islice(coming, PER_SECOND // 10)):
        spans = []
        for lookup, *server_spans in some:
            number += 1
            speaks = number % PODS < PODS * instrumented
            spans += [lookup, *server_spans] if speaks else server_spans
        stream.take(sort_otlp(otlp.build(spans), core.SERVICES), now_ns)
        now_ns += TICK_NS
        stream.advance(now_ns)
    gauges = stream.gauges()
    return {
        "server_traces": gauges["waiting_server_spans"] // core.SPANS_A_TRACE,
        "mib": gauges["waiting_bytes"] >> 20,
        "joined": stream.counts()["lookups_joined"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--instrumented", type=float, default=0.05)
    arguments = parser.parse_args()
    flat = {
        f"{'early' if early else 'all_wait'}.{name}": value
        for early in (False, True)
        for name, value in held(arguments.instrumented, early=early).items()
    }
    show(flat, as_json=arguments.json)


if __name__ == "__main__":
    main()
