"""Compact records: what is not sampled competes all the same, and the processor knows of it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dns.resolver
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

import otel_dns.client
from otel_dns import semconv
from otel_dns.client.unsampled import MAX_RECORDS
from otel_dns.join import JoinSettings, Outcome
from otel_dns.join.recognise import unsampled_of
from otel_dns.model import Lookup, Resolution, Span
from otel_dns.service import ledger
from otel_dns.service.configuration.settings import Export
from otel_dns.service.sorting import sort_otlp
from otel_dns.service.stream import Stream
from otel_dns.wire import MalformedError, otlp
from tests.client.support import DnsServer, Telemetry
from tests.support.spans import APPLICATION, MS, T0, servedns, span
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
NAME = "db.shop.example."
"""Absolute: one candidate, so that a test needs one server trace."""


@pytest.fixture(params=[True, False], ids=["fast path", "public API"])
def unsampled(request: pytest.FixtureRequest, telemetry: Telemetry) -> Telemetry:
    """An application that samples nothing, and sends records."""
    telemetry.tracer_provider.sampler = ALWAYS_OFF
    otel_dns.client.instrument(**telemetry.options, unsampled_records=True, fast_path=request.param)
    return telemetry


def look_up(name: str) -> None:
    with contextlib.suppress(OSError, UnicodeError):
        socket.getaddrinfo(name, 80)


def records(telemetry: Telemetry) -> list[ReadableSpan]:
    return [span for span in telemetry.spans() if span.name == semconv.UNSAMPLED_SPAN]


def sent(telemetry: Telemetry) -> list[ReadableSpan]:
    return eventually(lambda: records(telemetry), "a record is sent though nothing follows")


def read(telemetry: Telemetry) -> list[Lookup]:
    """What the processor reads of the records."""
    request = encode_spans(records(telemetry)).SerializeToString()
    return [one for span in sort_otlp(request, {"coredns"}).lookups for one in unsampled_of(span)]


def test_what_is_not_sampled_is_told(unsampled: Telemetry) -> None:
    look_up("localhost")
    look_up("no such host")
    look_up("127.0.0.1")
    first, second = eventually(
        lambda: told if len(told := read(unsampled)) == 2 else None,
        "they are sent though nothing follows",
    )
    assert not unsampled.lookups()
    sent_ = records(unsampled)  # one, unless a second has passed in between
    assert {record.parent for record in sent_} == {None}
    assert (first.name, first.error_type) == ("localhost", "")
    assert second.name == "no such host"
    assert second.error_type in {"host_not_found", "try_again"}
    assert sent_[0].start_time == first.start_ns < first.end_ns <= second.start_ns
    assert sent_[-1].end_time == second.end_ns
    assert not first.recorded
    # The measurements are those of all lookups, with or without records.
    assert sum(point.count for point in unsampled.points(semconv.DNS_LOOKUP_DURATION)) == 2


def test_what_is_sampled_is_not_told_again(telemetry: Telemetry) -> None:
    telemetry.tracer_provider.sampler = ALWAYS_ON
    otel_dns.client.instrument(**telemetry.options, unsampled_records=True, require_parent=True)
    with telemetry.tracer_provider.get_tracer("app").start_as_current_span("GET"):
        look_up("localhost")
    look_up("localhost.")
    sent(telemetry)
    assert [one.attributes[semconv.DNS_QUESTION_NAME] for one in telemetry.lookups()] == [
        "localhost"
    ]
    assert [one.name for one in read(telemetry)] == ["localhost."]


def test_a_full_record_goes_at_once_and_nothing_is_lost_between_threads(
    unsampled: Telemetry,
) -> None:
    with ThreadPoolExecutor(4) as threads:
        # Names that are refused before anybody is asked.
        threads.map(look_up, (f"{number}..invalid" for number in range(2 * MAX_RECORDS)))
    assert len(records(unsampled)) >= 2
    told = eventually(
        lambda: len(found := read(unsampled)) >= 2 * MAX_RECORDS and found, "all of them"
    )
    assert sorted(int(one.name.partition(".")[0]) for one in told) == list(range(2 * MAX_RECORDS))


def test_what_a_cache_answered_competes_with_nobody(
    unsampled: Telemetry, dns_server: DnsServer
) -> None:
    resolver = dns_server.resolver()
    resolver.cache = dns.resolver.Cache()
    for _ in range(3):
        resolver.resolve("web.shop.example.", "A")
    sent(unsampled)
    assert [(one.name, one.types) for one in read(unsampled)] == [("web.shop.example.", ("A",))]


def test_off_by_default(telemetry: Telemetry) -> None:
    telemetry.tracer_provider.sampler = ALWAYS_OFF
    otel_dns.client.instrument(**telemetry.options)
    for _ in range(MAX_RECORDS):
        look_up("localhost")
    assert not telemetry.spans()


def test_a_forked_child_does_not_send_what_waited_in_its_parent(unsampled: Telemetry) -> None:
    look_up("parent..invalid")
    child = os.fork()
    if child == 0:
        look_up("child..invalid")
        told: list[Lookup] = []
        try:
            sent(unsampled)
            told = read(unsampled)
        finally:
            os._exit(0 if [one.name for one in told] == ["child..invalid"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    sent(unsampled)
    assert [one.name for one in read(unsampled)] == ["parent..invalid"]


EXITING = """
import socket
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
import otel_dns.client
provider = TracerProvider(sampler=ALWAYS_OFF)
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
otel_dns.client.instrument(tracer_provider=provider)
socket.getaddrinfo("localhost", 80)
"""


def test_what_waits_when_the_program_ends_is_sent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXITING],
        cwd=ROOT,
        env={**os.environ, "OTEL_DNS_CLIENT_UNSAMPLED_RECORDS": "true"},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert f'"name": "{semconv.UNSAMPLED_SPAN}"' in done.stdout
    assert not done.stderr


class LooksUp:
    """A resolver of names where the SDK lets it be: at a span's start and end."""

    def __init__(self) -> None:
        self.calls = 0

    def on_start(self, *_: Any, **__: Any) -> None:
        self.calls += 1
        look_up("localhost")

    _on_ending = on_end = on_start

    def shutdown(self) -> None:
        """Nothing to end."""

    def force_flush(self, _: int = 0) -> bool:
        return True


def test_a_span_processor_that_looks_names_up_starts_no_record(unsampled: Telemetry) -> None:
    looks_up = LooksUp()
    unsampled.tracer_provider.add_span_processor(looks_up)  # type: ignore[arg-type]
    look_up("no such host")
    sent(unsampled)
    assert looks_up.calls
    assert [one.name for one in read(unsampled)] == ["no such host"]


# -- the processor ----------------------------------------------------------------------------


class Processor:
    """A stream, and what leaves the join and the processor."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.out: list[str] = []
        self.stream = Stream(JoinSettings(), self._sent, [self], Export(what="all"))

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes

    def _sent(self, request: bytes, _: int) -> None:
        self.out += [one.name for one in otlp.decode(request)]

    def take(self, *spans: Span) -> None:
        self.stream.take(
            sort_otlp(otlp.build([(one.origin, one.raw) for one in spans]), {"coredns"}), T0
        )

    def resolutions(self) -> list[Resolution]:
        self.stream.drain()
        return [one for one in self.outcomes if isinstance(one, Resolution)]

    def balanced(self, lookup_spans: int, server_spans: int) -> bool:
        """Whether everything that came in is accounted for."""
        counts = self.stream.counts()
        counts.update(
            lookup_spans=lookup_spans, server_spans=server_spans, spans_handed=len(self.out)
        )
        return not ledger.reading(counts, self.stream.gauges(), {}).unaccounted


def record_of(*lookups: tuple[object, ...], told: str = "") -> Span:
    """A record's span of lookups by name, start, duration and error; or of any text."""
    tail = (
        otlp.string_attribute(semconv.CLIENT_ADDRESS, "10.0.0.7")
        + otlp.string_attribute(semconv.LOOKUP_FAMILY, "inet")
        + otlp.string_attribute(semconv.UNSAMPLED_LOOKUPS, told or json.dumps(lookups))
    )
    return span(semconv.UNSAMPLED_SPAN, 0, 10 * MS, kind=3, tail=tail, origin=APPLICATION)


def sampled(start_ns: int, end_ns: int) -> Span:
    tail = (
        otlp.string_attribute(semconv.DNS_QUESTION_NAME, NAME)
        + otlp.string_attribute(semconv.CLIENT_ADDRESS, "10.0.0.7")
        + otlp.string_attribute(semconv.LOOKUP_FAMILY, "inet")
    )
    return span(semconv.LOOKUP_SPAN, start_ns, end_ns, kind=3, tail=tail, origin=APPLICATION)


@pytest.fixture
def processor() -> Processor:
    return Processor()


def test_a_competitor_without_a_span_gets_its_trace(processor: Processor) -> None:
    """Without the record, both traces would lie in reach of the one lookup that has a span."""
    processor.take(
        sampled(0, 4 * MS),
        record_of((NAME, 1 * MS, 4 * MS, "")),
        servedns(100_000, 3 * MS, name=NAME),
        servedns(1 * MS + 100_000, 4 * MS, name=NAME),
    )
    starts = {
        one.lookup.recorded: [joined.trace.start_ns - T0 for joined in one.join.traces]
        for one in processor.resolutions()
    }
    assert starts == {True: [100_000], False: [1 * MS + 100_000]}
    # The record ends here; the competitor's server trace stays as it came.
    assert sorted(processor.out) == ["dns.lookup", "servedns", "servedns"]
    assert processor.balanced(lookup_spans=2, server_spans=2)


def test_a_record_that_comes_again_counts_once(processor: Processor) -> None:
    record = record_of((NAME, 0, 4 * MS, ""), (NAME, 9 * MS, 1 * MS, ""))
    processor.take(record)
    processor.take(record)
    assert len(processor.resolutions()) == 2
    assert processor.balanced(lookup_spans=2, server_spans=0)


@pytest.mark.parametrize(
    "told",
    [
        "soon",
        "{}",
        json.dumps([[NAME, 1, 1]]),
        json.dumps([[NAME, 1, True, ""]]),
        json.dumps([[NAME, -1, 1, ""]]),
        json.dumps([[1, 1, 1, ""]]),
        json.dumps([[NAME, 1 << 70, 1, ""]]),
        json.dumps([[NAME, 1, 1, ""]] * 4097),
    ],
)
def test_a_broken_record_is_sent_on_and_counted(processor: Processor, told: str) -> None:
    record = record_of(told=told)
    with pytest.raises(MalformedError):
        unsampled_of(record)
    processor.take(record, sampled(0, MS))
    assert len(processor.resolutions()) == 1
    assert processor.stream.counts()["lookups_incomplete"] == 1
    assert sorted(processor.out) == [semconv.LOOKUP_SPAN, semconv.UNSAMPLED_SPAN]
    assert processor.balanced(lookup_spans=2, server_spans=0)
