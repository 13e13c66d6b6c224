"""What one query costs the processor at each evidence level: CPU microseconds, on one core.

The same lookups, of one query each, with what CoreDNS tells of it: a log line (level 1), dnstap's
two messages (2), these and one trace in a hundred (3), every trace (4). Without sockets and
threads, as :mod:`bench.core`: from bytes in to OTLP bytes out, the lookup's own span among it.

    python -m bench.levels          a table
    python -m bench.levels --json   one flat object
"""

import argparse
import datetime
import platform
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bench import core
from bench.figures import show
from otel_dns import semconv
from otel_dns.join import JoinSettings
from otel_dns.model import Message
from otel_dns.service import recordings
from otel_dns.service.log_sorting import sort_logs
from otel_dns.service.memory import collect_seldom
from otel_dns.service.metrics import ResolutionMetrics
from otel_dns.service.sorting import Incoming, sort_otlp
from otel_dns.service.stream import Stream
from otel_dns.wire import Refusals, dnstap, otlp

A_REQUEST = 50


def lines(count: int) -> list[tuple[int, str]]:
    """CoreDNS's log lines of the lookups' queries, each with the time of its writing."""
    made = []
    for number, spans in enumerate(core.traces(count, clients=500)):
        told = otlp.attributes_of(spans[0][1])
        start_ns = otlp.read_span(spans[0][1], core.APPLICATION).start_ns + 600_000
        line = (
            f"[INFO] {told[semconv.CLIENT_ADDRESS]}:{32_768 + number % 28_000} - {number % 65_536}"
            f' "A IN {told[semconv.DNS_QUESTION_NAME]} udp 52 false 512" NOERROR qr,aa,rd 104'
            " 0.000400000s"
        )
        made.append((start_ns, line))
    return made


def log_requests(count: int) -> list[bytes]:
    """The lines as a Collector's filelog receiver sends them."""
    made = lines(count)
    return [
        ExportLogsServiceRequest(resource_logs=[{
            "resource": {"attributes": [
                {"key": "k8s.pod.name", "value": {"string_value": "coredns-0"}}]},
            "scope_logs": [{"log_records": [
                {"body": {"string_value": line}, "time_unix_nano": time_ns}
                for time_ns, line in made[at : at + A_REQUEST]
            ]}],
        }]).SerializeToString()
        for at in range(0, count, A_REQUEST)
    ]  # fmt: skip


def written(count: int, file: Path) -> None:
    """Write the lines as containerd keeps them."""
    with file.open("w") as out:
        for time_ns, line in lines(count):
            when = datetime.datetime.fromtimestamp(time_ns // core.SECOND, datetime.UTC)
            out.write(f"{when:%Y-%m-%dT%H:%M:%S}.{time_ns % core.SECOND:09}Z stdout F {line}\n")


class Level:
    """The core, fed with lookups and what servers tell of them, a piece of each in turn."""

    def __init__(self, lookups: Sequence[bytes]) -> None:
        self._lookups = lookups
        settings = JoinSettings(settle_ns=core.SECOND, trace_wait_ns=2 * core.SECOND)
        self.stream = Stream(settings, lambda _request, _spans: None, [ResolutionMetrics()])

    def run(self, evidence: Iterator[Sequence[Incoming]]) -> None:
        """Take it all, a tenth of a second apart."""
        now_ns = 0
        for lookups, told in zip(self._lookups, evidence, strict=True):
            self.stream.take(sort_otlp(lookups, core.SERVICES), now_ns)
            for one in told:
                self.stream.take(one, now_ns)
            now_ns += core.SECOND // 10
            self.stream.advance(now_ns)
        self.stream.drain()


def _tapped(payloads: Sequence[bytes]) -> Incoming:
    decoded = [dnstap.decode(payload) for payload in payloads]
    return Incoming([], [], [], Refusals(), [one for one in decoded if isinstance(one, Message)])


def measure(count: int, runs: int) -> dict[str, float | int | str]:
    """Medians of several runs, the levels taking turns."""
    collect_seldom()
    pieces = core.dnstap_pieces(count, A_REQUEST)
    lookups = [request for request, _ in pieces]
    taps = [payloads for _, payloads in pieces]
    logs = log_requests(count)
    traced = core.requests(count, lookups=False, a_request=A_REQUEST)
    every = list(core.traces(count, clients=500))
    seldom = [
        otlp.build(
            span
            for number in range(at, at + A_REQUEST)
            if number % 100 == 0
            for span in every[number][1:]
        )
        for at in range(0, count, A_REQUEST)
    ]
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "coredns.log"
        written(count, file)

        def one(name: str, work: Iterator[Sequence[Incoming]]) -> None:
            level = Level(lookups)
            cost = core.microseconds(count, lambda: level.run(work))
            assert level.stream.counts()["lookups_joined"] == count, name
            found.setdefault(name, []).append(cost)

        def read_file() -> None:
            reading = recordings.Reading(core.SERVICES)
            read = sum(len(one.messages) for one in recordings.read([file], reading))
            assert read == count

        def joined_file() -> Iterator[Sequence[Incoming]]:
            messages: list[Message] = []
            for piece in recordings.read([file], recordings.Reading(core.SERVICES)):
                messages += piece.messages
                while len(messages) >= A_REQUEST:
                    yield [Incoming([], [], [], Refusals(), messages[:A_REQUEST])]
                    del messages[:A_REQUEST]

        for _ in range(runs):
            one("level_1_log_otlp", ([sort_logs(raw)[0]] for raw in logs))
            one("level_1_log_file", joined_file())
            one("level_2_dnstap", ([_tapped(some)] for some in taps))
            one(
                "level_3_dnstap_and_every_100",
                (
                    [_tapped(some), sort_otlp(raw, core.SERVICES)] if raw else [_tapped(some)]
                    for some, raw in zip(taps, seldom, strict=True)
                ),
            )
            one("level_4_every_1", ([sort_otlp(raw, core.SERVICES)] for raw in traced))
            for name, work in (
                ("reading_a_log_line_otlp", lambda: [sort_logs(raw) for raw in logs]),
                ("reading_a_log_line_file", read_file),
                ("reading_two_dnstap_messages", lambda: [_tapped(some) for some in taps]),
            ):
                found.setdefault(name, []).append(core.microseconds(count, work))  # type: ignore[arg-type]
    flat: dict[str, float | int | str] = {
        f"{name}_us_per_query": round(statistics.median(values), 1)
        for name, values in found.items()
    }
    per_message = float(flat["level_2_dnstap_us_per_query"]) / 2
    flat["level_2_dnstap_messages_per_s"] = round(1e6 / per_message)
    return flat | {"queries": count, "runs": runs, "python": platform.python_version()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--queries", type=int, default=5_000, help="a multiple of 50")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    figures = measure(arguments.queries, arguments.runs)
    show(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
