"""What the page takes from the service that feeds it: ``python -m bench.page.ingest``.

    python -m bench.page.ingest              a line; 10^6 lookups lie in the history already
    python -m bench.page.ingest --json       one flat object

``otel-dns serve`` has a core of its own; its page, the askers, the sender and the output have the
others. It is fed as fast as it takes, in turns with nobody at the page and with 20 requests a
second.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench import core
from bench.page.__main__ import load
from bench.page.make import make
from bench.processor.__main__ import send
from bench.processor.subjects import CORE, SinkProcess, Subject, running
from tests.support.processes import answers, free_addresses
from tests.support.waiting import eventually

OTHERS = os.sched_getaffinity(0) - {CORE} or {CORE}


@contextmanager
def service(history: Path, output: str, directory: Path) -> Iterator[tuple[Subject, str]]:
    """Run the service as people do, with history and page; it and the page's address."""
    address, http, page = free_addresses(3)
    config = {
        "receivers": {"otlp": {"listen": address}, "http": {"listen": http}},
        "outputs": [{"endpoint": output}],
        "join": {"settle": 1, "server_trace_wait": 2},
        "history": {"directory": str(history)},
        "page": {"listen": page},
    }
    file = directory / "otel-dns.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-P", "-m", "otel_dns", "serve", "--config", str(file)]
    with running(command, address, f"http://{http}/readyz", directory / "log") as subject:
        eventually(lambda: answers(f"http://{page}/healthz"), "the page is up")
        pid = subject.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            for thread in Path(f"/proc/{child}/task").iterdir():
                os.sched_setaffinity(int(thread.name), OTHERS)
        yield subject, f"http://{page}/"


def turn(subject: Subject, raws: list[bytes], spans: int) -> tuple[float, float]:
    """Feed requests as fast as they are taken; spans a second, CPU microseconds a span."""
    cpu, began = subject.cpu_s(), time.monotonic()
    send(subject.address, raws)
    rate = spans / (time.monotonic() - began)
    eventually(lambda: not subject.gauge("otel_dns_waiting_server_spans"), "joined", within=60)
    return rate, (subject.cpu_s() - cpu) / spans * 1e6


def asked(url: str, rate: float, stop: threading.Event) -> None:
    """Ask, a few seconds at a time, until told to stop."""
    seed = 1
    while not stop.is_set():
        asyncio.run(load(url, rate, 2, seed))
        seed += 1


def measure(
    rows: int, traces: int, turns: int, rate: float, history: Path | None
) -> dict[str, float]:
    spans = traces * (core.SPANS_A_TRACE + 1)
    found: dict[str, list[tuple[float, float]]] = {"alone": [], "in_use": []}
    with tempfile.TemporaryDirectory(prefix="otel-dns-bench-") as name, SinkProcess() as sink:
        directory = Path(name)
        if history is None:
            history = directory / "history"
            make(history, rows, 24, time.time_ns())
        with service(history, sink.address, directory) as (subject, url):
            turn(subject, core.requests(traces // 4, lookups=True), spans // 4)
            for _ in range(turns):
                found["alone"].append(turn(subject, core.requests(traces, lookups=True), spans))
                stop = threading.Event()
                asker = threading.Thread(target=asked, args=(url, rate, stop))
                asker.start()
                found["in_use"].append(turn(subject, core.requests(traces, lookups=True), spans))
                stop.set()
                asker.join()
    flat: dict[str, float] = {
        "rows": rows,
        "spans": spans,
        "turns": turns,
        "requests_a_second": rate,
    }
    for key, values in found.items():
        flat[f"{key}.spans_per_s"] = round(statistics.median(each[0] for each in values))
        flat[f"{key}.us_per_span"] = round(statistics.median(each[1] for each in values), 2)
    ratios = [on[0] / off[0] for off, on in zip(found["alone"], found["in_use"], strict=True)]
    flat["in_use.share_of_alone"] = round(statistics.median(ratios), 3)
    flat["in_use.share_of_alone.low"] = round(min(ratios), 3)
    flat["in_use.share_of_alone.high"] = round(max(ratios), 3)
    return flat


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page.ingest")
    parser.add_argument("--rows", type=int, default=1_000_000, help="in the history already")
    parser.add_argument("--history", type=Path, help="one that is there; it is written to")
    parser.add_argument("--traces", type=int, default=20_000, help="lookups a turn, ten spans each")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--json", action="store_true", help="print one flat object")
    options = parser.parse_args()
    os.sched_setaffinity(0, OTHERS)
    flat = measure(options.rows, options.traces, options.turns, options.rate, options.history)
    if options.json:
        print(json.dumps(flat, indent=2))
        return
    print(
        f"{flat['alone.spans_per_s']:,.0f} spans a second with nobody at the page,"
        f" {flat['in_use.spans_per_s']:,.0f} with {options.rate:g} requests a second:"
        f" {flat['in_use.share_of_alone']:.2f} of it"
        f" ({flat['in_use.share_of_alone.low']:.2f} to {flat['in_use.share_of_alone.high']:.2f});"
        f" CPU {flat['alone.us_per_span']:.1f} and {flat['in_use.us_per_span']:.1f} us a span"
    )


if __name__ == "__main__":
    main()
