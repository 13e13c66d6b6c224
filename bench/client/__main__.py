"""``python -m bench.client``: the table; ``--json``: its figures as one flat object."""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from typing import Any

from bench.client import postgres
from bench.client.measure import CONFIGURATIONS, TOLD

PEERS = ("psycopg", "sqlite3", "urllib3") if postgres.programs() else ("sqlite3", "urllib3")
CASES = [
    *((subject, how) for how in CONFIGURATIONS for subject in ("getaddrinfo", *PEERS)),
    ("getaddrinfo", TOLD),
    ("getaddrinfo_numeric", "recording"),
    ("getaddrinfo_numeric", "no_sdk"),
]
FOOTPRINTS = [(what, on) for on in ("python", "sdk") for what in ("client", "sqlite3")]
Rounds = dict[str, list[float]]
Flat = dict[str, float]


def run(module: str, *args: object) -> Any:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.client.{module}", *map(str, args)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def spread(name: str, values: list[float], per: float = 1.0) -> Flat:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {
        name: round(middle / per, 3),
        f"{name}.low": round(low / per, 3),
        f"{name}.high": round(high / per, 3),
    }


def calls(turns: int, number: int, rounds: int) -> Flat:
    """Return microseconds a call above the bare call, and ratios to the cheapest peer."""
    results: dict[tuple[str, str], Rounds] = defaultdict(lambda: defaultdict(list))
    # All cases in turn, and again: a disturbance then meets all of them, not one.
    for _ in range(turns):
        for case in CASES:
            some = number // 5 if case[0] in {"psycopg", "urllib3"} else number
            for kind, values in run("measure", *case, some, rounds).items():
                results[case][kind] += values
    flat: Flat = {}
    for (subject, configuration), found in results.items():
        for kind, values in found.items():
            flat |= spread(f"{subject}.{configuration}.{kind}_us", values, 1000)
    for configuration in ("recording", "not_sampled"):
        for kind in ("wall", "cpu"):
            peer = min(flat[f"{peer}.{configuration}.{kind}_us"] for peer in PEERS)
            ours = flat[f"getaddrinfo.{configuration}.{kind}_us"]
            flat[f"ratio_to_cheapest_peer.{configuration}.{kind}"] = round(ours / peer, 3)
    return flat


def exports(number: int, rounds: int) -> Flat:
    """Return what sending a span costs."""
    flat: Flat = {}
    for subject in ("getaddrinfo", *PEERS):
        found = run("export", subject, number, rounds)
        flat[f"{subject}.export.bytes_a_span"] = round(found["bytes"], 1)
        flat |= spread(f"{subject}.export.cpu_us", found["cpu"], 1000)
    return flat


def footprints(times: int) -> Flat:
    """Return what being there costs."""
    flat: Flat = {}
    for what, on in FOOTPRINTS:
        found = [run("footprint", what, on) for _ in range(times)]
        name = f"{what}.import_on_{on}"
        flat |= spread(f"{name}.ms", [one["ms"] for one in found])
        flat |= spread(f"{name}.kib", [one["kib"] for one in found])
    return flat


def table(flat: Flat) -> str:
    title = "microseconds a call, above the bare call"
    columns = f"{'wall':>8}  {'quartiles':<16}{'CPU':>8}  {'quartiles':<16}{'bare call':>10}"
    lines = [f"{title:<44}{columns}"]
    for subject, configuration in CASES:
        line = f"{subject + ', ' + configuration.replace('_', ' '):<44}"
        for kind in ("wall", "cpu"):
            line += _cell(flat, f"{subject}.{configuration}.{kind}_us")
        lines.append(line + f"{flat[f'{subject}.{configuration}.bare_us']:>10.2f}")
    for name, value in flat.items():
        if name.startswith("ratio"):
            lines.append(f"{name.replace('_', ' ').replace('.', ', '):<44}{value:>8.2f}")
    lines += ["", f"{'one span through the OTLP exporter':<44}{'CPU us':>8}{'bytes':>28}"]
    for subject in ("getaddrinfo", *PEERS):
        cell = _cell(flat, f"{subject}.export.cpu_us")
        lines.append(f"{subject:<44}{cell}{flat[f'{subject}.export.bytes_a_span']:>10.0f}")
    lines += ["", f"{'import and switch on, on top of':<44}{'ms':>8}{'resident KiB':>28}"]
    for what, on in FOOTPRINTS:
        name = f"{what}.import_on_{on}"
        label = f"{what}, {'Python alone' if on == 'python' else 'the SDK'}"
        lines.append(f"{label:<44}{_cell(flat, name + '.ms')}{flat[name + '.kib']:>10.0f}")
    if "psycopg" not in PEERS:
        lines += ["", "without psycopg: there is no PostgreSQL server here"]
    return "\n".join(lines)


def _cell(flat: Flat, name: str) -> str:
    return f"{flat[name]:>8.2f}  {flat[name + '.low']:.2f}-{flat[name + '.high']:.2f}".ljust(26)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.client", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--calls", type=int, default=2000, help="calls a round (default 2000)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds a process (default 10)")
    parser.add_argument("--turns", type=int, default=3, help="processes a case (default 3)")
    options = parser.parse_args()
    flat = calls(options.turns, options.calls, options.rounds)
    flat |= exports(options.calls, options.rounds)
    flat |= footprints(max(options.turns, 2) * 2)
    print(json.dumps(flat, indent=2) if options.json else table(flat))


if __name__ == "__main__":
    main()
