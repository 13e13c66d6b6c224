"""``python -m bench.processor``: a table; ``--json``: its figures as one flat object.

Every subject gets the same requests over gRPC from one sender, is pinned to one core, and sends on
to the same sink, each in a process of its own. CPU is what the system counts for the subject's
process, from the first request until everything is out; the runs of the subjects take turns.
"""

import argparse
import contextlib
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import grpc

from bench import core, levels
from bench.figures import show
from bench.processor.subjects import CORE, SinkProcess, Subject, collector, processor
from otel_dns.wire import otlp
from tests.support.otlp import EXPORT
from tests.support.waiting import eventually

Start = Callable[[str, Path], AbstractContextManager[Subject]]
SUBJECTS: dict[str, Start] = {
    "collector_forward": partial(collector, joining=False, wait_s=1.0),
    "collector_group_by_trace": partial(collector, joining=True, wait_s=1.0),
    "otel_dns_all": partial(processor, export="all", wait_s=1.0),
    "otel_dns_default": partial(processor, export="notable", wait_s=1.0),
    "otel_dns_history": partial(processor, export="notable", wait_s=1.0, history=True),
}
MOSTLY_KEPT_BACK = {"otel_dns_default", "otel_dns_history"}
IN_FLIGHT = 4


def requests(traces: int, instrumented: float) -> list[bytes]:
    """Requests of lookups and server traces; of the Pods, a share sends lookups."""
    if instrumented >= 1:
        return core.requests(traces, lookups=True)
    chosen = random.Random(1)
    spans = list(core.traces(traces, clients=500))
    kept = [one if chosen.random() < instrumented else one[1:] for one in spans]
    return [
        otlp.build(span for trace in kept[at : at + 50] for span in trace)
        for at in range(0, len(kept), 50)
    ]


def send(address: str, raws: list[bytes]) -> None:
    """Send requests, a few in flight; whoever is busy is asked again, as a Collector does."""
    with grpc.insecure_channel(address) as channel:
        export = channel.unary_unary(EXPORT)
        flying: list[tuple[grpc.Future, bytes]] = []
        left = list(reversed(raws))
        while left or flying:
            while left and len(flying) < IN_FLIGHT:
                raw = left.pop()
                flying.append((export.future(raw, timeout=60), raw))
            answer, raw = flying.pop(0)
            try:
                answer.result()
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                left.append(raw)
                time.sleep(0.05)


def cost(start: Start, raws: list[bytes], spans: int, out: int) -> dict[str, float]:
    """CPU microseconds a span, and memory; measured when as many spans as ``out`` have come out."""
    with (
        tempfile.TemporaryDirectory() as directory,
        SinkProcess() as sink,
        start(sink.address, Path(directory)) as subject,
    ):
        send(subject.address, raws[:2])  # what is made once is made now
        time.sleep(0.5)
        idle = subject.cpu_s()
        began = time.monotonic()
        send(subject.address, raws)
        expected = out * (len(raws) + 2) / len(raws)
        eventually(lambda: sink.spans() >= 0.98 * expected, "all spans out", within=120)
        if out < spans:
            eventually(lambda: nothing_waits(subject), "joined", within=120)
        return {
            "us_per_span": (subject.cpu_s() - idle) / spans * 1e6,
            "rss_mib": subject.rss_mib("VmHWM"),
            "spans_per_s": spans / (time.monotonic() - began),
            "out_per_lookup": sink.spans() / (spans / (core.SPANS_A_TRACE + 1)),
        }


def nothing_waits(subject: Subject) -> bool:
    """Whether everything is joined; asked seldom, for the answer costs the subject CPU time."""
    time.sleep(1.0)
    return not subject.gauge("otel_dns_waiting_server_spans")


def waiting(start: Start, traces: int) -> dict[str, float]:
    """Memory while so many server traces wait."""
    with (
        tempfile.TemporaryDirectory() as directory,
        SinkProcess() as sink,
        start(sink.address, Path(directory)) as subject,
    ):
        before = subject.rss_mib()
        send(subject.address, core.requests(traces, lookups=False))
        time.sleep(1.0)
        held = subject.rss_mib()
        subject.process.kill()
        return {"rss_mib": held, "bytes_per_trace": (held - before) * (1 << 20) / traces}


def measure(traces: int, runs: int, waiting_traces: int) -> dict[str, float | int | str]:
    spans = traces * (core.SPANS_A_TRACE + 1)
    raws = requests(traces, 1.0)
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(runs):
        for name, start in SUBJECTS.items():
            figures = cost(start, raws, spans, traces if name in MOSTLY_KEPT_BACK else spans)
            for key, value in figures.items():
                found.setdefault(name, {}).setdefault(key, []).append(value)
    sparse = requests(traces, 0.05)
    sparse_spans = sum(len(group.spans) for raw in sparse for group in otlp.cut(raw))
    sparse_lookups = sparse_spans - traces * core.SPANS_A_TRACE
    flat: dict[str, float | int | str] = {}
    for name, figures in found.items():
        for key, values in figures.items():
            flat[f"{name}.{key}"] = round(statistics.median(values), 3)
        values = figures["us_per_span"]
        flat[f"{name}.us_spread"] = round(max(values) - min(values), 3)
    passing = [otlp.build((core.OTHER, span) for group in otlp.cut(raw) for span in group.spans)
               for raw in raws]  # fmt: skip
    through = cost(SUBJECTS["otel_dns_default"], passing, spans, spans)
    flat["otel_dns_passing.us_per_span"] = round(through["us_per_span"], 3)
    few = cost(SUBJECTS["otel_dns_default"], sparse, sparse_spans, sparse_lookups)
    flat["otel_dns_5_percent_instrumented.us_per_span"] = round(few["us_per_span"], 3)
    if waiting_traces:
        flat["waiting_traces"] = waiting_traces
        long: dict[str, Start] = {
            "collector_group_by_trace": partial(collector, joining=True, wait_s=600.0),
            "otel_dns": partial(processor, export="all", wait_s=600.0),
        }
        for name, start in long.items():
            for key, value in waiting(start, waiting_traces).items():
                flat[f"{name}.waiting_{key}"] = round(value, 1)
    per_level = levels.measure(count=5_000, runs=runs)
    flat |= {name: value for name, value in per_level.items() if name not in {"runs", "python"}}
    grouped = flat["collector_group_by_trace.us_per_span"]
    for name in (name for name in SUBJECTS if name.startswith("otel_dns")):
        flat[f"{name}.cheaper_than_group_by_trace"] = round(
            float(grouped) / float(flat[f"{name}.us_per_span"]), 2
        )
    return flat | {"traces": traces, "spans": spans, "runs": runs, "cores": os.cpu_count() or 0,
                   "python": platform.python_version()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--traces", type=int, default=20_000, help="lookups, ten spans each")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--waiting", type=int, default=100_000, help="0 leaves memory out")
    arguments = parser.parse_args()
    others = os.sched_getaffinity(0) - {CORE}
    if others:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, others)
    figures = measure(arguments.traces, arguments.runs, arguments.waiting)
    show(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
