"""What those who look at the page wait for: its API at so many requests a second.

    python -m bench.page                     a table: 10^6 lookups over a day, 20 requests a second
    python -m bench.page --rows 10000000     a larger history
    python -m bench.page --json              one flat object

The page runs as ``otel-dns serve`` starts it, with its own limits (one thread for questions).
Requests come at their times whether or not those before were answered (open loop), as people at
several tabs make them: the first page and its charts most, lists, servers, Pods, each of the last
quarter of an hour to six hours, and time goes on, so that what was kept is soon of no use.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx

from bench.page.make import make
from otel_dns.history.history import History
from tests.support.processes import free_addresses, running

MIX = (
    ("about", 20, {}), ("state", 14, {}), ("overview", 14, {}), ("lookups", 14, {"limit": 100}),
    ("facets", 6, {}), ("lookups", 8, {"order": "newest", "limit": 50}), ("live", 8, {}),
    ("lookups", 4, {"outcome": "timeout"}), ("servers", 4, {}), ("pods", 4, {}),
    ("latency", 2, {"of": "upstream:192.0.2.54:53"}), ("advice", 2, {}),
)  # fmt: skip
RANGES = ((900, 4), (3600, 5), (21_600, 1))
STEPS = 240
"""The end of a range moves on in steps of this part of it, as the page's own do."""


async def load(
    url: str, rate: float, seconds: float, seed: int, behind_s: float = 0
) -> dict[str, list[float]]:
    """Ask so many times a second; seconds by question, ``failed`` among them.

    Args:
        url: of the page.
        rate: requests a second.
        seconds: for so long.
        seed: of chance.
        behind_s: how long ago the last lookup was: where ranges end.
    """
    chance = random.Random(seed)
    took: dict[str, list[float]] = defaultdict(list)

    async def ask(client: httpx.AsyncClient, path: str, parameters: dict[str, Any]) -> None:
        began = time.perf_counter()
        try:
            answer = await client.get(f"{url}api/v1/{path}", params=parameters)
            name = path if answer.status_code == 200 else "failed"
        except httpx.HTTPError:
            name = "failed"
        took[name].append(time.perf_counter() - began)

    limits = httpx.Limits(max_connections=60)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client, asyncio.TaskGroup() as group:
        began = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(began + number / rate - time.perf_counter(), 0))
            path, _, more = chance.choices(MIX, [weight for _, weight, _ in MIX])[0]
            length = chance.choices(RANGES, [weight for _, weight in RANGES])[0][0]
            step = max(5, round(length / STEPS))
            to = -(-int(time.time() - behind_s) // step) * step
            parameters = {} if path in {"about", "live"} else {"from": to - length, "to": to}
            group.create_task(ask(client, path, {**parameters, **more}))
    return took


def measure(history: Path, rate: float, seconds: float) -> dict[str, float]:
    """Run the page on a history, and ask of its end."""
    with History(history) as kept:
        behind_s = time.time() - (kept.extent().last_at or 0) / 1e9
    (address,) = free_addresses(1)
    url = f"http://{address}/"
    command = [sys.executable, "-m", "otel_dns", "page", "--history", history, "--listen", address]
    with (
        tempfile.TemporaryDirectory() as directory,
        running(command, env={}, log=Path(directory) / "log", ready=f"{url}healthz") as process,
    ):
        asyncio.run(load(url, 2, 3, 0, behind_s))
        ticks = _cpu_s(process.pid)
        took = asyncio.run(load(url, rate, seconds, 1, behind_s))
        cpu_s = _cpu_s(process.pid) - ticks
        resident = _resident_mb(process.pid)
    everything = [each for name, values in took.items() if name != "failed" for each in values]
    flat = {
        "requests": len(everything),
        "failed": len(took.get("failed", ())),
        "cpu_share": round(cpu_s / seconds, 3),
        "resident_mb": round(resident, 1),
        **_figures("all", everything),
    }
    for name in sorted(took):
        flat |= _figures(name, took[name])
    return flat


def _figures(name: str, seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        f"{name}.p50_ms": round(statistics.median(ordered) * 1000, 1),
        f"{name}.p95_ms": round(ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)] * 1000, 1),
        f"{name}.max_ms": round(ordered[-1] * 1000, 1),
    }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--history", type=Path, help="a history that is there already")
    parser.add_argument("--json", action="store_true", help="print one flat object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otel-dns-bench-") as directory:
        history = options.history or Path(directory)
        if options.history is None:
            make(history, options.rows, options.hours, time.time_ns())
        size = sum(path.stat().st_size for path in history.rglob("*.parquet"))
        flat = measure(history, options.rate, options.seconds)
    flat |= {"rows": options.rows, "megabytes": round(size / 1e6, 1), "rate": options.rate}
    if options.json:
        print(json.dumps(flat, indent=2))
        return
    print(
        f"{flat['rows']:,} lookups, {flat['megabytes']:,} MB; {flat['requests']} requests at"
        f" {flat['rate']:g} a second, {flat['failed']} failed; {flat['cpu_share']:.2f} of a core,"
        f" {flat['resident_mb']:.0f} MB\n"
    )
    print(f"{'question':12} {'p50':>9} {'p95':>9} {'most':>9}   milliseconds")
    for name in sorted({key.partition(".")[0] for key in flat if "." in key}):
        values = (flat[f"{name}.{figure}_ms"] for figure in ("p50", "p95", "max"))
        print(f"{name:12}", *(f"{value:9,.1f}" for value in values))


if __name__ == "__main__":
    main()
