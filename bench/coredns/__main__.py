"""``python -m bench.coredns`` (``make bench-coredns``): prints the table of docs/coredns.md."""

import argparse
import shutil
import sys
import time

from bench.coredns.measure import LEVELS, STATES, Bench, Cell
from otel_dns.lab import Lab, available

_MIB = 1 << 20


def main() -> None:
    """Measure and print; exit code 2 where it cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.coredns", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="healthy receivers only, short runs")
    parser.add_argument("--rate", type=int, default=3000, help="queries a second of the load")
    parser.add_argument("--seconds", type=float, default=4.0, help="of load in each cell")
    parser.add_argument("--levels", type=int, nargs="*", default=list(LEVELS))
    arguments = parser.parse_args()
    reason = available()
    if reason is None and shutil.which("dnsperf") is None:
        reason = "dnsperf is not installed (Debian: apt-get install dnsperf)"
    if reason is not None:
        print(f"cannot measure: {reason}", file=sys.stderr)
        sys.exit(2)
    states = STATES[:1] if arguments.quick else STATES
    seconds = 1.0 if arguments.quick else arguments.seconds
    started = time.monotonic()
    cells: list[Cell] = []
    with Lab() as lab:
        bench = Bench(lab, arguments.rate, seconds)
        for level in arguments.levels:
            for state in states if level >= 2 else STATES[:1]:
                cell = bench.cell(level, state)
                cells.append(cell)
                print(f"level {level}, {state}: {cell.cpu_us:.0f} us a query", file=sys.stderr)
    print(table(cells))
    took = time.monotonic() - started
    print(f"\n{arguments.rate} queries a second, {seconds:.0f} s a cell, {took:.0f} s in all.")


def table(cells: list[Cell]) -> str:
    """As Markdown, ratios to the server that tells nothing."""
    plain = next((one for one in cells if one.level == 0), cells[0])
    columns = (
        "level", "receiver", "CPU a query", "to plain", "CPU at most", "to plain",
        "most a second", "to plain", "p99", "RSS", "bytes a query", "lost",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for one in cells:
        receiver = one.state if one.level >= 2 else ""
        lines.append(
            f"| {one.level} | {receiver} | {one.cpu_us:.0f} us | {one.cpu_us / plain.cpu_us:.2f} |"
            f" {one.cpu_most_us:.0f} us | {one.cpu_most_us / plain.cpu_most_us:.2f} |"
            f" {one.most:,.0f} | {one.most / plain.most:.2f} | {one.p99_us:,.0f} us |"
            f" {one.rss / _MIB:.0f} MiB | {one.bytes_a_query:.0f} | {one.lost} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
