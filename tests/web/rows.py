"""A history of made-up lookups, through the schema of the real one: an hour with a known course.

From a third of the hour on, upstream 192.0.2.54 is slow; in the last quarter some queries to it
stay without an answer. Some names are hostile.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from otel_dns import semconv
from otel_dns.history.files import HOUR_NS, file_name, hour_name
from otel_dns.history.schema import SCHEMA, SEGMENT_COLUMNS

HOSTILE = (
    "<img src=x onerror=alert(1)>.example.org",
    "\u202egro.elpmaxe\x1b[31m.example.org",
    "javascript:alert(1)//.example.org",
    "a" * 63 + "." + "b" * 63 + "." + "c" * 63 + ".example.org",
)
SEARCH = ("{ns}.svc.cluster.local", "svc.cluster.local", "cluster.local")
NAMES = ("www.example.org", "api.partner.example", "db", "payments.shop", "metrics.example.net")
PODS = tuple(
    (namespace, f"{app}-{suffix}", app, f"node-{node}")
    for namespace, app, suffix, node in (
        ("shop", "storefront", "7d4b9c-x2x8q", "a"), ("shop", "storefront", "7d4b9c-k9wzp", "b"),
        ("shop", "checkout", "5f6c8d-m4v2n", "a"), ("payments", "ledger", "66bd9f-q7t5r", "b"),
        ("payments", "fraud", "59c7d4-z8y3k", "c"), ("batch", "reports", "28941-hw6lj", "c"),
    )
)  # fmt: skip
PLUGINS = ("prometheus", "errors", "log", "cache", "forward")


def write(directory: Path, end_ns: int, count: int = 3000, seed: int = 7) -> list[dict[str, Any]]:
    """Write the hour that ends then; the rows."""
    rows = list(made(end_ns - HOUR_NS, count, seed))
    for number, hour_ns in enumerate(
        sorted({row["start_ns"] // HOUR_NS * HOUR_NS for row in rows})
    ):
        hour = directory / hour_name(hour_ns)
        hour.mkdir(parents=True, exist_ok=True)
        within = [row for row in rows if row["start_ns"] // HOUR_NS * HOUR_NS == hour_ns]
        table = pa.Table.from_pylist(within, SCHEMA)
        pq.write_table(table, hour / file_name(number + 1, number + 1), compression="zstd")
    return rows


def made(start_ns: int, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """The lookups of an hour."""
    chance = random.Random(seed)
    for number in range(count):
        at = number / count
        namespace, pod, app, node = chance.choices(PODS, (6, 5, 3, 3, 2, 1))[0]
        name = chance.choice(NAMES)
        if number % 251 == 17:
            name = HOSTILE[number % len(HOSTILE)]
        yield lookup(chance, start_ns + int(at * HOUR_NS), at, name, namespace, pod, app, node)


def lookup(  # noqa: PLR0917
    chance: random.Random,
    start_ns: int,
    at: float,
    name: str,
    namespace: str,
    pod: str,
    app: str,
    node: str,
) -> dict[str, Any]:
    """One lookup, its queries one candidate after the other."""
    search = [domain.format(ns=namespace) for domain in SEARCH]
    internal = name in {"db", "payments.shop"}
    candidates = [f"{name}.{domain}." for domain in search] + [f"{name}."]
    answered = (0 if name == "db" else 1) if internal else 3
    upstream = chance.choice(("192.0.2.53:53", "192.0.2.54:53"))
    server = chance.choice(("coredns-0", "coredns-1"))
    slow = upstream.startswith("192.0.2.54") and at > 1 / 3
    lost = slow and at > 0.75 and chance.random() < 0.03 and not internal
    now = int(chance.lognormvariate(11.5, 0.4))
    hops: list[dict[str, Any]] = []
    all_spans: list[dict[str, Any]] = []
    exchanges: list[dict[str, Any]] = []
    own: dict[str, int] = {}
    outside_ns = 0
    for candidate in range(answered + 1):
        for type_ in ("A", "AAAA"):
            external = candidate == 3
            wait = 0
            if external and chance.random() > 0.3:
                wait = int(chance.lognormvariate(18.3 if slow else 14.6, 0.5))
            parts = [int(chance.lognormvariate(10.2, 0.5)) for _ in PLUGINS]
            begin = now + (0 if type_ == "A" else 15_000)
            spans, cursor = [], begin
            total = sum(parts) + wait + 20_000
            spans.append(_span("servedns", -1, begin, total, 20_000))
            own["servedns"] = own.get("servedns", 0) + 20_000
            left = total - 20_000
            for place, (plugin, part) in enumerate(zip(PLUGINS, parts, strict=True)):
                cursor += 4_000
                spans.append(_span(plugin, place, cursor, left - 4_000 * place, part))
                left -= part
                own[plugin] = own.get(plugin, 0) + part
            if wait:
                spans.append(_span("connect", len(PLUGINS), cursor + 2_000, wait, wait, upstream))
            hops.append(
                {
                    "name": candidates[candidate], "type": type_,
                    "rcode": "NOERROR" if candidate == answered else "NXDOMAIN", "proto": "udp",
                    "server": server, "start_ns": begin, "duration_ns": total,
                    "upstream": upstream if wait else "", "upstream_ns": wait,
                    "cache": "miss" if wait else "hit",
                    "candidate": candidate, "hop": 0, "parent": -1, "method": "time",
                    "source": "trace", "skew_ns": 0, "trace": f"{chance.getrandbits(64):016x}",
                    "client_port": 0, "dns_id": -1,
                }
            )  # fmt: skip
            all_spans += [{"hop": len(hops) - 1, **span} for span in spans]
            if wait:
                exchanges.append(
                    {
                        "upstream": upstream,
                        "server": server,
                        "duration_ns": wait,
                        "rcode": "NOERROR",
                    }
                )
            if type_ == "AAAA":
                outside_ns += max(wait, 0)
                now = max(hop["start_ns"] + hop["duration_ns"] for hop in hops[-2:])
                now += int(chance.lognormvariate(12.5, 0.4))
    waiting = 5_000_000_000 if lost else 0
    duration = now + waiting
    joined = chance.random() > 0.02
    server_ns = min(sum(own.values()) // 2, duration - outside_ns - waiting)
    segments = dict.fromkeys(SEGMENT_COLUMNS, 0)
    if joined:
        segments[semconv.SEGMENT_SERVER] = server_ns
        segments[semconv.SEGMENT_UPSTREAM] = outside_ns
        segments[semconv.SEGMENT_WAITING] = waiting
        segments[semconv.SEGMENT_STUB_NETWORK] = duration - server_ns - outside_ns - waiting
    else:
        segments[semconv.SEGMENT_UNATTRIBUTED] = duration
    failed = lost and chance.random() < 0.5
    return {
        "schema_version": 1, "trace_id": f"{chance.getrandbits(128):032x}",
        "span_id": f"{chance.getrandbits(64):016x}", "start": start_ns // 1000,
        "start_ns": start_ns, "duration_ns": duration, "service": app, "cluster": "",
        "namespace": namespace, "pod": pod, "node": node, "container": "app",
        "client": f"10.244.0.{2 + [each[1] for each in PODS].index(pod)}", "name": name,
        "type": "A+AAAA", "api": "socket.getaddrinfo", "resolver": "glibc", "family": "any",
        "nameserver": "10.96.0.10", "search": search, "ndots": 5, "candidates": candidates,
        "answered": candidates[answered] if joined else "",
        "outcome": semconv.OUTCOME_TIMEOUT if failed else semconv.OUTCOME_OK,
        "error_type": "try_again" if failed else "",
        "bottleneck": max(segments, key=lambda each: segments[each]), "latency_class": "",
        "method": "time" if joined else "none", "confidence": 0.997 if joined else 0.0,
        "certainty": chance.choices(("sure", "group", "unsure"), (90, 6, 4))[0] if joined else "",
        "group_size": 1, "unseen": "", "queries": len(hops) if joined else 0,
        "waste_queries": 2 * answered if joined else 0,
        "waste_ns": hops[2 * answered]["start_ns"] if joined else 0, "retries": int(lost),
        "inferred": False, "recorded": True,
        **{column: segments[segment] for segment, column in SEGMENT_COLUMNS.items()},
        "after_answer_ns": 12_000,
        "plugins": [
            {"plugin": plugin, "server": server, "own_ns": ns, "queries": len(hops)}
            for plugin, ns in own.items()
        ] if joined else [],
        "hops": hops if joined else [],
        "exchanges": exchanges if joined else [],
        "spans": all_spans if joined else [],
        "evidence": [], "left_out": 0,
    }  # fmt: skip


def _span(  # noqa: PLR0917
    name: str, parent: int, start: int, duration: int, own: int, peer: str = ""
) -> dict[str, Any]:
    return {
        "name": name, "parent": parent, "start_ns": start, "duration_ns": max(duration, 0),
        "own_ns": own, "peer": peer,
    }  # fmt: skip
