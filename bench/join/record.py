"""Capture one condition in the lab: what CoreDNS really sent while real lookups ran.

A capture is a directory: ``capture.json`` (condition, seed, versions, addresses of the workers),
``lookups.jsonl.gz``, ``zipkin.jsonl.gz`` (bodies as posted) and ``dnstap.fstrm.gz``.
"""

import dataclasses
import gzip
import itertools
import json
import math
import os
import random
import re
import shutil
import sys
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any, Final

from bench.join.conditions import CONDITIONS, Condition
from otel_dns import semconv
from otel_dns.lab import Lab, addresses
from otel_dns.lab.capture_files import Capture

FORMAT: Final = 1
PORTS: Final = (53, *range(5301, 5315))
"""Of the upstream, as many as ``forward`` takes: each answers after another time. With a few that
are multiples of one another, lookups that began apart meet again and again, in step."""
DELAY_SIGMA: Final = 0.5
"""Of the log-normal distribution that the upstream's delays follow."""
EXTERNAL_ZONE: Final = "ext.example"
SEARCH: Final = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
_QUERY_LINE: Final = re.compile(r"^\[INFO\] \S+:\d+ - \d+ ", re.MULTILINE)


def cache_directory() -> Path:
    """Where captures are kept unless told otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "otel-dns" / "join-captures"


def captured(directory: Path, name: str, seed: int) -> Path | None:
    """Return a capture's directory if it is there."""
    found = directory / f"{name}.{seed}"
    return found if (found / "capture.json").exists() else None


def record(directory: Path, name: str, seed: int) -> Path:
    """Run a condition in a lab of its own and keep what came of it.

    Args:
        directory: where captures are kept.
        name: one of ``CONDITIONS``.
        seed: of names and pauses.

    Raises:
        LabError: a program is missing or failed.
    """
    condition = CONDITIONS[name]
    target = directory / f"{name}.{seed}"
    partial = directory / f".{name}.{seed}.{os.getpid()}"
    partial.mkdir(parents=True)
    try:
        _record(partial, name, condition, seed)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _record(directory: Path, name: str, condition: Condition, seed: int) -> None:
    with Lab() as lab:
        capture = lab.capture(otlp_port=None)
        lab.upstream_dns(_upstream(condition))
        zone = lab.session.write("zones/bench.zone", _zone())
        cluster = lab.cluster_dns(_cluster(zone, capture))
        traced = [cluster]
        if condition.node_local:
            traced.append(lab.node_local_dns(zipkin=capture.zipkin_url))
        options = ("ndots:5", "timeout:1", "attempts:3") if condition.loss else ("ndots:5",)
        workers = [
            lab.pod(f"worker-{number}", namespace="shop", options=options)
            for number in range(condition.workers)
        ]
        if condition.loss:
            cluster.place.run(["nft", "-f", "-"], input=_losses(condition.loss), check=True)
        holders = {pod["name"]: pod["holder"] for pod in lab.status()["pods"]}
        task = {
            "holders": [holders[worker.name] for worker in workers],
            "burst": condition.burst,
            **_plan(condition, seed),
        }
        done = workers[0].run(
            [sys.executable, "-P", str(Path(__file__).with_name("workload.py"))],
            input=json.dumps(task), timeout=150, check=True,
        )  # fmt: skip
        complete = _await_all(capture, sum(_queries(server.log) for server in traced))
        with gzip.open(directory / "lookups.jsonl.gz", "wt") as file:
            file.write(done.stdout)
        for source, kept in ((capture.zipkin, "zipkin"), (capture.dnstap_file, "dnstap")):
            with gzip.open(directory / f"{kept}{source.suffix}.gz", "wb") as file:
                file.write(source.read_bytes())
        about = {
            "format": FORMAT,
            "condition": name,
            "seed": seed,
            "load": dataclasses.asdict(condition),
            "workers": [worker.address for worker in workers],
            "complete": complete,
        }
        (directory / "capture.json").write_text(json.dumps(about, indent=1) + "\n")


def _plan(condition: Condition, seed: int) -> dict[str, Any]:
    """Names and pauses of each worker."""
    rng = random.Random(f"{condition} {seed}")
    inside = [f"svc{number:02}" for number in range(condition.names)]
    outside = [f"host{number:02}.{EXTERNAL_ZONE}" for number in range(condition.names)]
    weights = [1 / (rank + 1) if condition.zipf else 1 for rank in range(condition.names)]
    rounds = condition.lookups // condition.workers
    names, pauses = [], []

    def choice() -> str:
        where = outside if rng.random() < condition.external else inside
        return rng.choices(where, weights)[0]

    together = [choice() for _ in range(rounds)]
    for _ in range(condition.workers):
        names.append(together if condition.burst else [choice() for _ in range(rounds)])
        mean = condition.pause_ms / 1000
        pauses.append([rng.expovariate(1 / mean) if mean else 0.0 for _ in range(rounds)])
    return {"names": names, "pauses": pauses}


def _cluster(zone: Path, capture: Capture) -> str:
    forward = " ".join(f"{addresses.UPSTREAM_DNS}:{port}" for port in PORTS)
    # The reporter's default backlog would lose spans by itself: losing is for views to do.
    return f""".:53 {{
    metadata
    errors
    log . "{{common}} {{/trace/traceid}}"
    trace zipkin {capture.zipkin_url} {{
        every 1
        service coredns
        zipkin_max_backlog_size 50000
    }}
    dnstap {capture.dnstap} full {{
        identity coredns
        extra "{{/trace/traceid}} {{>id}} {{port}}"
    }}
    file "{zone}" cluster.local
    forward . {forward}
}}
"""


def _upstream(condition: Condition) -> str:
    blocks = []
    for port, share in zip(PORTS, _delays(len(PORTS)), strict=True):
        delay_us = int(condition.upstream_ms * share * 1000)
        delay = f"        delay 1 {delay_us}us\n" if delay_us else ""
        blocks.append(
            f"{EXTERNAL_ZONE}:{port} {{\n    erratic {{\n{delay}        drop 0\n"
            f"        truncate 0\n    }}\n}}\n"
            f".:{port} {{\n    template ANY ANY . {{\n        rcode NXDOMAIN\n    }}\n}}\n"
        )
    return "".join(blocks)


def _delays(number: int) -> list[float]:
    """Quantiles of a log-normal distribution, their mean 1."""
    normal = NormalDist(sigma=DELAY_SIGMA)
    values = [math.exp(normal.inv_cdf((at + 0.5) / number)) for at in range(number)]
    return [value / fmean(values) for value in values]


def _zone() -> str:
    head = (
        "$ORIGIN cluster.local.\n$TTL 5\n"
        "@ IN SOA ns.dns hostmaster 1 7200 1800 86400 5\n@ IN NS ns.dns\n"
        f"ns.dns IN A {addresses.CLUSTER_DNS}\n"
    )
    services = (f"svc{number:02}.shop.svc IN A 10.96.1.{number}\n" for number in range(100))
    return head + "".join(services)


def _losses(percent: int) -> str:
    rule = f"numgen random mod 100 < {percent} drop"
    return f"""table inet losses {{
    chain queries {{
        type filter hook input priority 0;
        udp dport 53 {rule}
    }}
    chain answers {{
        type filter hook output priority 0;
        udp sport 53 {rule}
    }}
}}
"""


def _queries(log: Path) -> int:
    return len(_QUERY_LINE.findall(log.read_text()))


def _await_all(capture: Capture, queries: int) -> bool:
    """Wait until each logged query has its root span; False if some never came."""

    def is_all() -> bool:
        return (
            capture.zipkin.read_bytes().count(b'"%s"' % semconv.SERVEDNS_SPAN.encode()) >= queries
        )

    try:
        capture.wait_until(is_all, f"{queries} servedns spans", timeout=8)
    except Exception:  # noqa: BLE001 - what is missing is missing for the join, too; it is said
        return False
    return True


def main() -> None:
    directory = Path(sys.argv[1])
    seeds = [int(seed) for seed in sys.argv[2].split(",")]
    names = sys.argv[3].split(",") if len(sys.argv) > 3 else list(CONDITIONS)
    for seed, name in itertools.product(seeds, names):
        if captured(directory, name, seed) is None:
            print(name, seed, record(directory, name, seed), flush=True)


if __name__ == "__main__":
    main()
