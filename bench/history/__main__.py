"""What the history costs: rows a second in, bytes a row, and each question's time.

    python -m bench.history                     a table: 10^6 lookups over a day
    python -m bench.history --rows 10000000     more of them
    python -m bench.history --json              one flat object

Writing: resolutions become rows and files as the service does it, one thread; beside it, what
pyarrow alone takes to write the same rows as it does when nobody tells it more. Asking: DuckDB with
two threads and 1 GB, as the command line has it; the last hour, and everything.
"""

import argparse
import contextlib
import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.page.make import make
from otel_dns.history.history import BusyError, History
from otel_dns.history.questions import Questions
from otel_dns.history.rows import batch_of
from otel_dns.history.schema import SCHEMA
from otel_dns.history.store import Store
from otel_dns.history.where import Where
from tests.history.support import searched
from tests.web.rows import made

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
ROWS_OF_FILE = 20_000
UPSTREAM = "192.0.2.54:53"

QUESTIONS: dict[str, Callable[[Questions, Where], Any]] = {
    "totals": lambda ask, where: ask.totals(where),
    "over_time": lambda ask, where: ask.over_time(600 * SECOND, where),
    "by_pod": lambda ask, where: ask.by("pod", where, order="p95_ns"),
    "by_name": lambda ask, where: ask.by("name", where),
    "pods": lambda ask, where: ask.pods(where),
    "plugins": lambda ask, where: ask.plugins(where),
    "servers": lambda ask, where: ask.servers(where),
    "upstreams": lambda ask, where: ask.upstreams(where),
    "heat_map": lambda ask, where: ask.subject_bins(
        "upstream", UPSTREAM, where, step_ns=600 * SECOND
    ),
    "slowest": lambda ask, where: ask.slowest(where, limit=100),
    "habits": lambda ask, where: ask.habits(where),
    "askers": lambda ask, where: ask.askers(["*.partner.example"], where),
}  # fmt: skip


def write(count: int) -> dict[str, float]:
    """Write lookups; each has the queries of a search list, and is unlike the others."""
    resolutions = [searched(number * SECOND) for number in range(200)]
    began = time.process_time()
    batches = [batch_of(resolutions) for _ in range(max(count // len(resolutions) // 10, 1))]
    rows_s = (time.process_time() - began) / sum(batch.num_rows for batch in batches)

    table = pa.Table.from_pylist(list(made(1_764_068_400 * SECOND, ROWS_OF_FILE, 3)), SCHEMA)
    (batch,) = table.combine_chunks().to_batches()
    with tempfile.TemporaryDirectory(prefix="otel-dns-bench-") as place:
        directory = Path(place)
        store = Store(
            directory / "kept", retention_ns=1 << 62, max_bytes=1 << 40, grace_ns=0
        )  # fmt: skip
        store.open()
        repeats = max(count // ROWS_OF_FILE, 1)
        began = time.process_time()
        for _ in range(repeats):
            store.write(batch, 1_764_070_000 * SECOND)
        file_s = (time.process_time() - began) / repeats / table.num_rows
        written = sum(path.stat().st_size for path in directory.rglob("*.parquet"))
        store.close(0)
        plain = directory / "plain.parquet"
        began = time.process_time()
        for _ in range(repeats):
            pq.write_table(table, plain)
        plain_s = (time.process_time() - began) / repeats / table.num_rows
        plain_bytes = plain.stat().st_size
    return {
        "write.rows_a_second": round(1 / (rows_s + file_s)),
        "write.make_rows_us": round(rows_s * 1e6, 1),
        "write.file_us": round(file_s * 1e6, 1),
        "write.bytes_a_row": round(written / repeats / table.num_rows, 1),
        "write.plain_file_us": round(plain_s * 1e6, 1),
        "write.plain_bytes_a_row": round(plain_bytes / table.num_rows, 1),
    }


def ask(directory: Path, now_ns: int) -> dict[str, float]:
    """Ask each question twice, of the last hour and of everything; the better of two."""
    flat: dict[str, float] = {}
    with History(directory) as history:
        for name, question in QUESTIONS.items():
            for period, where in (("hour", Where(since_ns=now_ns - HOUR)), ("all", Where())):
                took = [math.inf]  # and so it stays where 1 GB is not enough
                for _ in range(2):
                    began = time.perf_counter()
                    with contextlib.suppress(BusyError):
                        question(history, where)
                        took.append(time.perf_counter() - began)
                flat[f"{name}.{period}_ms"] = round(min(took) * 1000, 1)
    flat["ask.peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return flat


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.history")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--written", type=int, default=100_000, help="rows to write")
    parser.add_argument("--history", type=Path, help="a history that is there already")
    parser.add_argument("--json", action="store_true", help="print one flat object")
    options = parser.parse_args()
    now_ns = time.time_ns()
    with tempfile.TemporaryDirectory(prefix="otel-dns-bench-") as place:
        history = options.history or Path(place)
        if options.history is None:
            make(history, options.rows, options.hours, now_ns)
        flat = {"rows": options.rows, **ask(history, now_ns), **write(options.written)}
    if options.json:
        json.dump(flat, sys.stdout, indent=2)
        return
    print(
        f"writing: {flat['write.rows_a_second']:,} lookups a second of CPU"
        f" ({flat['write.make_rows_us']} us to make a row, {flat['write.file_us']} us to write it),"
        f" {flat['write.bytes_a_row']} bytes each;\n"
        f"  pyarrow alone: {flat['write.plain_file_us']} us,"
        f" {flat['write.plain_bytes_a_row']} bytes\n"
        f"asking {flat['rows']:,} lookups, {flat['ask.peak_mb']:.0f} MB at most:\n"
    )
    print(f"{'question':12} {'last hour':>10} {'all':>10}   milliseconds")
    for name in QUESTIONS:
        print(f"{name:12} {flat[f'{name}.hour_ms']:10,.1f} {flat[f'{name}.all_ms']:10,.1f}")


if __name__ == "__main__":
    main()
