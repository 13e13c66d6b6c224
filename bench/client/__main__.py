"""``python -m bench.client``: the table; ``--json``: its figures as one flat object."""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict

from bench.client.measure import CONFIGURATIONS

PEERS = ("sqlite3", "urllib3")
CASES = [
    *((subject, how) for how in CONFIGURATIONS for subject in ("getaddrinfo", *PEERS)),
    ("getaddrinfo_numeric", "recording"),
    ("getaddrinfo_numeric", "no_sdk"),
]
Rounds = dict[str, list[float]]


def measure(subject: str, configuration: str, calls: int, rounds: int) -> Rounds:
    command = [sys.executable, "-m", "bench.client.measure"]
    done = subprocess.run(
        [*command, subject, configuration, str(calls), str(rounds)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: Rounds = json.loads(done.stdout.splitlines()[-1])
    return found


def figures(results: dict[tuple[str, str], Rounds]) -> dict[str, float]:
    """Return microseconds above the bare call: median and quartiles, and ratios to the peers."""
    flat: dict[str, float] = {}
    for (subject, configuration), rounds in results.items():
        for kind, values in rounds.items():
            low, middle, high = statistics.quantiles(values, n=4)
            name = f"{subject}.{configuration}.{kind}_us"
            flat[name] = round(middle / 1000, 3)
            flat[f"{name}.low"], flat[f"{name}.high"] = round(low / 1000, 3), round(high / 1000, 3)
    for configuration in ("recording", "not_sampled"):
        for kind in ("wall", "cpu"):
            peer = min(flat[f"{peer}.{configuration}.{kind}_us"] for peer in PEERS)
            ours = flat[f"getaddrinfo.{configuration}.{kind}_us"]
            flat[f"ratio_to_cheapest_peer.{configuration}.{kind}"] = round(ours / peer, 3)
    return flat


def table(flat: dict[str, float]) -> str:
    title = "microseconds a call, above the bare call"
    columns = f"{'wall':>8}  {'quartiles':<16}{'CPU':>8}  {'quartiles':<16}{'bare call':>10}"
    lines = [f"{title:<44}{columns}"]
    for subject, configuration in CASES:
        line = f"{subject + ', ' + configuration.replace('_', ' '):<44}"
        for kind in ("wall", "cpu"):
            name = f"{subject}.{configuration}.{kind}_us"
            spread = f"{flat[name + '.low']:.2f}-{flat[name + '.high']:.2f}"
            line += f"{flat[name]:>8.2f}  {spread:<16}"
        lines.append(line + f"{flat[f'{subject}.{configuration}.bare_us']:>10.2f}")
    for name, value in flat.items():
        if name.startswith("ratio"):
            lines.append(f"{name.replace('_', ' ').replace('.', ', '):<44}{value:>8.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.client", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--calls", type=int, default=2000, help="calls a round (default 2000)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds a process (default 10)")
    parser.add_argument("--turns", type=int, default=3, help="processes a case (default 3)")
    options = parser.parse_args()
    results: dict[tuple[str, str], Rounds] = defaultdict(lambda: defaultdict(list))
    # All cases in turn, and again: a disturbance then meets all of them, not one.
    for _ in range(options.turns):
        for case in CASES:
            calls = options.calls // 5 if case[0] == "urllib3" else options.calls
            for kind, values in measure(*case, calls, options.rounds).items():
                results[case][kind] += values
    flat = figures(results)
    print(json.dumps(flat, indent=2) if options.json else table(flat))


if __name__ == "__main__":
    main()
