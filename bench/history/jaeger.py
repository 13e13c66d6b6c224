"""What Jaeger's API answers, beside the history: ``python -m bench.history.jaeger``.

    python -m bench.history.jaeger                  a table: 5,000 lookups in both
    python -m bench.history.jaeger --json           one flat object

The same lookups go into a real Jaeger (in memory, as the lab runs it), as otel-dns sends them
joined, and into a history. Both are asked what Jaeger can be asked: a trace, tags, durations. What
it cannot be asked is taken the only way there is: every trace is fetched, and whoever asks works it
out.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from otel_dns import semconv
from otel_dns.history.history import History
from otel_dns.history.schema import SCHEMA
from otel_dns.history.store import Store
from otel_dns.history.where import Where
from otel_dns.lab.programs import collector_config, find
from otel_dns.model import Origin
from otel_dns.model.latency import latency_class
from otel_dns.wire import otlp
from tests.support.otlp import forward
from tests.support.processes import free_addresses, running
from tests.support.waiting import eventually
from tests.web.rows import made

HOUR_NS = 3600 * 1_000_000_000
_A_REQUEST = 50
_TIMES = 5
_ROOT = 2
"""Kind of a server's span, as OTLP has it."""


def spans(row: dict[str, Any]) -> Iterator[tuple[Origin, bytes]]:
    """A lookup as one joined trace: its own span, and those of all its queries."""
    trace_id, lookup_id = bytes.fromhex(row["trace_id"]), bytes.fromhex(row["span_id"])
    start_ns = row["start_ns"]
    tags = {
        semconv.DNS_QUESTION_NAME: row["name"],
        semconv.LOOKUP_OUTCOME: row["outcome"],
        semconv.BOTTLENECK: row["bottleneck"],
        semconv.LATENCY_CLASS: latency_class(row["duration_ns"]),
        semconv.JOIN_METHOD: row["method"],
        semconv.SEARCH_POD: row["pod"],
        semconv.SEARCH_NODE: row["node"],
        semconv.SEARCH_NAMESPACE: row["namespace"],
    }
    tail = b"".join(otlp.string_attribute(key, value) for key, value in tags.items())
    yield (
        otlp.origin_of(row["service"]),
        otlp.encode_span(
            trace_id=trace_id, span_id=lookup_id, parent_id=b"", name=semconv.LOOKUP_SPAN, kind=3,
            start_ns=start_ns, end_ns=start_ns + row["duration_ns"], tail=tail,
        ),
    )  # fmt: skip
    place: dict[tuple[int, int], bytes] = {}
    numbers: dict[int, int] = {}
    for number, span in enumerate(row["spans"]):
        hop = span["hop"]
        within = numbers[hop] = numbers.get(hop, -1) + 1
        span_id = (int.from_bytes(lookup_id, "big") ^ (number + 1)).to_bytes(8, "big")
        place[hop, within] = span_id
        begin_ns = start_ns + span["start_ns"]
        is_root = span["parent"] < 0
        yield (
            otlp.origin_of("coredns", row["hops"][hop]["server"]),
            otlp.encode_span(
                trace_id=trace_id, span_id=span_id,
                parent_id=lookup_id if is_root else place[hop, span["parent"]],
                name=span["name"], kind=_ROOT if is_root else 0, start_ns=begin_ns,
                end_ns=begin_ns + span["duration_ns"], tail=tail if is_root else b"",
            ),
        )  # fmt: skip


class Jaeger:
    """Asks Jaeger's API, about the hour that the lookups are of."""

    def __init__(self, query: str, start_ns: int) -> None:
        self._query = query
        self._times = {
            "start": str(start_ns // 1000),
            "end": str((start_ns + 2 * HOUR_NS) // 1000),
        }
        self.got = 0
        """Bytes of all answers since it was set to 0."""

    def search(self, tags: dict[str, str] | None = None, **parameters: str) -> list[Any]:
        """Find traces; each comes with all its spans."""
        given = self._times | parameters | ({"tags": json.dumps(tags)} if tags else {})
        return self._get(f"/api/traces?{urllib.parse.urlencode(given)}")

    def trace(self, trace_id: str) -> list[Any]:
        """One trace."""
        return self._get(f"/api/traces/{trace_id}")

    def _get(self, path: str) -> list[Any]:
        with urllib.request.urlopen(f"http://{self._query}{path}", timeout=120) as response:
            raw = response.read()
        self.got += len(raw)
        found: list[Any] = json.loads(raw)["data"] or []
        return found


def _questions(
    jaeger: Jaeger, history: History, one: str, count: int
) -> Iterator[tuple[str, Callable[[], Any], Callable[[], Any]]]:
    def every() -> Any:
        return [
            jaeger.search(service=service, limit=str(count), operation=semconv.LOOKUP_SPAN)
            for service in ("storefront", "checkout", "ledger", "fraud", "reports")
        ]

    timed_out = {semconv.LOOKUP_OUTCOME: semconv.OUTCOME_TIMEOUT}
    pod = {semconv.SEARCH_POD: "checkout-5f6c8d-m4v2n"}
    where_pod = Where(pod=pod[semconv.SEARCH_POD])
    yield "one trace", lambda: jaeger.trace(one), lambda: history.lookup(one)
    yield (
        "a Pod's, 20 of them",
        lambda: jaeger.search(pod, service="checkout", limit="20"),
        lambda: history.latest(where_pod, limit=20),
    )
    yield (
        "timed out, 20 of them",
        lambda: jaeger.search(timed_out, service="coredns", limit="20"),
        lambda: history.latest(Where(outcome=semconv.OUTCOME_TIMEOUT), limit=20),
    )
    yield (
        "over 100 ms, 20 of them",
        lambda: jaeger.search(
            service="checkout", minDuration="100ms", limit="20", operation=semconv.LOOKUP_SPAN
        ),
        lambda: history.latest(Where(service="checkout", min_ns=100_000_000), limit=20),
    )
    yield "all, for a percentile", every, lambda: history.totals()  # noqa: PLW0108


def measure(count: int) -> dict[str, float | str]:
    """Fill both, and ask."""
    start_ns = (time.time_ns() // HOUR_NS - 2) * HOUR_NS
    rows = list(made(start_ns, count, 11))
    otlp_address, query, grpc, health = free_addresses(4)
    env = {
        "JAEGER_OTLP_GRPC": otlp_address, "JAEGER_QUERY_HTTP": query,
        "JAEGER_QUERY_GRPC": grpc, "JAEGER_HEALTH": health,
    }  # fmt: skip
    program = find("jaeger")
    assert program is not None
    command = [program, "--config", collector_config() / "jaeger-memory.yaml"]
    flat: dict[str, float | str] = {"lookups": count}
    with tempfile.TemporaryDirectory(prefix="otel-dns-bench-") as name:
        directory = Path(name)
        store = Store(directory / "history", retention_ns=1 << 62, max_bytes=1 << 40, grace_ns=0)
        store.open()
        store.write(pa.Table.from_pylist(rows, SCHEMA).combine_chunks().to_batches()[0], start_ns)
        store.close(0)
        ready = f"http://{health}/status"
        with running(command, env=env, log=directory / "log", ready=ready) as process:
            total = 0
            for begin in range(0, count, _A_REQUEST):
                some = [each for row in rows[begin : begin + _A_REQUEST] for each in spans(row)]
                forward(otlp_address, otlp.build(some))
                total += len(some)
            jaeger = Jaeger(query, start_ns)
            eventually(lambda: jaeger.trace(rows[-1]["trace_id"]), "the last is there", within=60)
            status = Path(f"/proc/{process.pid}/status").read_text()
            resident_kb = int(status.partition("VmRSS:")[2].split()[0])
            flat |= {"spans": total, "jaeger.resident_mb": round(resident_kb / 1024, 1)}
            files = (directory / "history").rglob("*-*.*")
            flat["history.mb"] = round(sum(each.stat().st_size for each in files) / 1e6, 2)
            with History(directory / "history") as history:
                middle = rows[count // 2]["trace_id"]
                for label, theirs, ours in _questions(jaeger, history, middle, count):
                    jaeger.got = 0
                    flat[f"{label}.jaeger_ms"] = _best_ms(theirs)
                    flat[f"{label}.jaeger_kb"] = round(jaeger.got / _TIMES / 1e3, 1)
                    flat[f"{label}.ours_ms"] = _best_ms(ours)
    return flat


def _best_ms(ask: Callable[[], Any]) -> float:
    took = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        assert ask(), "an answer"
        took.append(time.perf_counter() - began)
    return round(min(took) * 1000, 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.history.jaeger")
    parser.add_argument("--lookups", type=int, default=5_000)
    parser.add_argument("--json", action="store_true", help="print one flat object")
    options = parser.parse_args()
    flat = measure(options.lookups)
    if options.json:
        json.dump(flat, sys.stdout, indent=2)
        return
    print(
        f"{flat['lookups']:,} lookups, {flat['spans']:,} spans: Jaeger"
        f" {flat['jaeger.resident_mb']} MB resident, the history {flat['history.mb']} MB on disk\n"
    )
    print(f"{'question':24} {'Jaeger':>9} {'its answer':>12} {'history':>9}")
    for key in flat:
        label, _, what = key.rpartition(".")
        if what == "jaeger_ms":
            print(
                f"{label:24} {flat[key]:6,.1f} ms {flat[f'{label}.jaeger_kb']:9,.0f} kB"
                f" {flat[f'{label}.ours_ms']:6,.1f} ms"
            )


if __name__ == "__main__":
    main()
