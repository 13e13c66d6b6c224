"""Evidence levels 1 to 3 on real programs: what each lets otel-dns join, and with what detail."""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from otel_dns import semconv
from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.lab import Lab, available, dns, environment, programs, scenarios
from otel_dns.lab.capture_files import Capture
from otel_dns.lab.places import Pod
from otel_dns.lab.telemetry import Processor
from otel_dns.wire.otlp import AttributeValue, decode
from tests.support.programs import require
from tests.support.waiting import eventually

EXTRA: Final = 'extra "{/trace/traceid} {>id} {port}"'
TAP: Final = f"dnstap tcp://10.244.0.1:6000 full {{\n        {EXTRA}\n    }}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    for program in ("coredns", "otelcol"):
        require(program)
    with Lab() as made:
        made.upstream_dns()
        made.web_server()
        yield made


@pytest.fixture(scope="module")
def output(lab: Lab) -> Capture:
    """What otel-dns sends on."""
    return lab.capture("joined", otlp_port=14317, zipkin_port=None, dnstap_port=None)


@pytest.fixture(scope="module")
def processor(lab: Lab, output: Capture) -> Processor:
    return lab.processor(
        ["--settle", "6", "--server-trace-wait", "20", "--dnstap-listen", "10.244.0.1:6000"],
        output=output.otlp,
    )


def corefile(lab: Lab, *lines: str) -> str:
    zone = dns.write_zones(lab.session) / "cluster.local.zone"
    common = ["errors", *lines, f'file "{zone}" cluster.local', "forward . 192.0.2.53"]
    return ".:53 {\n    " + "\n    ".join(common) + "\n}\n"


def run_storefront(lab: Lab, processor: Processor, output: Capture, nameserver: str, name: str):
    """Run the storefront against one server; its joined lookups by name."""
    pod = lab.pod(name, namespace="shop", nameservers=[nameserver])
    return run(
        pod,
        scenarios.storefront(),
        processor,
        output,
        service=name,
        lookups=scenarios.STOREFRONT_LOOKUPS,
    )


def run(
    pod: Pod,
    command: list[str],
    processor: Processor,
    output: Capture,
    *,
    service: str,
    lookups: int,
) -> dict[str, JoinedLookup]:
    """Run a program in a Pod; its joined lookups by name, once there are so many."""
    pod.run(
        scenarios.instrumented(command),
        env=scenarios.client_env(processor.otlp, service=service),
        timeout=240,
        check=True,
    )

    def joined() -> dict[str, JoinedLookup]:
        requests = [request.SerializeToString() for request in output.trace_requests()]
        found = joined_lookups(view for request in requests for view in decode(request))
        ours = [one for one in found if one.span.resource.get(semconv.SERVICE_NAME) == service]
        return {one.name: one for one in ours}

    return eventually(
        lambda: found if len(found := joined()) >= lookups else None,
        f"{lookups} joined lookups of {service}",
    )


LOOK_UP: Final = """
import socket, sys
for name in sys.argv[1:]:
    try:
        socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError:
        pass
"""


def look_up(*names: str) -> list[str]:
    return [sys.executable, "-c", LOOK_UP, *names]


def unseen(lookups: dict[str, JoinedLookup]) -> dict[str, AttributeValue]:
    return {name: lookup.attribute(semconv.JOIN_UNSEEN) for name, lookup in lookups.items()}


QUERIES: Final = {"web": 2, "db": 2, "www.example.org": 8, "slow.example.": 1, "paymets": 8}


def counted(lookups: dict[str, JoinedLookup]) -> dict[str, int]:
    return {name: len(lookup.queries) for name, lookup in lookups.items()}


def adds_up(lookups: dict[str, JoinedLookup]) -> bool:
    return all(sum(one.segments.values()) == one.duration_ns for one in lookups.values())


def test_level_2_dnstap_alone_shows_server_and_upstream(lab, processor, output) -> None:
    lab.cluster_dns(corefile(lab, "metadata", TAP), name="coredns-2", address="10.96.0.22")
    lookups = run_storefront(lab, processor, output, "10.96.0.22", "level-2")
    assert counted(lookups) == QUERIES
    assert adds_up(lookups)
    slow = lookups["slow.example."]
    assert slow.segments[semconv.SEGMENT_UPSTREAM] >= 50_000_000
    assert slow.attribute(semconv.BOTTLENECK) == semconv.SEGMENT_UPSTREAM
    assert {query.plugins[-1].peer for query in slow.queries} == {"192.0.2.53:53"}
    assert {one.rcode for one in lookups["paymets"].queries} == {"NXDOMAIN"}
    assert set(unseen(lookups).values()) == {"not_traced"}


def test_level_3_sampled_traces_beside_dnstap(lab, processor, output) -> None:
    trace = (
        f"trace zipkin {processor.zipkin_url} {{\n        every 4\n        service coredns\n    }}"
    )
    lab.cluster_dns(corefile(lab, "metadata", TAP, trace), name="coredns-3", address="10.96.0.23")
    lookups = run_storefront(lab, processor, output, "10.96.0.23", "level-3")
    assert counted(lookups) == QUERIES
    assert adds_up(lookups)
    with_plugins = [
        query
        for lookup in lookups.values()
        for query in lookup.queries
        if "file" in {plugin.name for plugin in query.plugins}
    ]
    assert 3 <= len(with_plugins) <= 7  # a quarter of 21
    for name, lookup in lookups.items():
        sampled = any(query in with_plugins for query in lookup.queries)
        assert unseen(lookups)[name] == (None if sampled else "not_sampled")
    # Figures of plugins say how many queries they are of.
    _, told = lab.http_get(f"{processor.http_url}/metrics")
    traced = re.search(
        rb'otel_dns_server_traced_queries_total\{otel_dns_server="coredns-3"\} (\d+)', told
    )
    assert traced is not None
    assert int(traced[1]) == len(with_plugins)


def test_level_3_traces_that_were_lost(lab, processor, output) -> None:
    # Nobody listens at the discard port: the reporter loses what it has.
    trace = "trace zipkin http://10.244.0.1:9/api/v2/spans"
    lab.cluster_dns(corefile(lab, "metadata", TAP, trace), name="coredns-5", address="10.96.0.25")
    pod = lab.pod("lossy", namespace="shop", nameservers=["10.96.0.25"])
    lookups = run(pod, look_up("db", "web"), processor, output, service="lossy", lookups=2)
    assert unseen(lookups) == {"db": "lost", "web": "lost"}
    assert counted(lookups) == {"db": 2, "web": 2}


def test_level_4_why_nothing_was_seen(lab, processor, output) -> None:
    trace = f"trace zipkin {processor.zipkin_url} {{\n        service coredns\n    }}"
    server = lab.cluster_dns(corefile(lab, trace), name="coredns-4", address="10.96.0.24")
    pod = lab.pod(
        "level-4", namespace="shop", nameservers=["10.96.0.24"],
        options=["ndots:5", "timeout:1", "attempts:2"],
    )  # fmt: skip
    before = run(pod, look_up("db", "level-4"), processor, output, service="before", lookups=2)
    assert unseen(before) == {"db": None, "level-4": "no_query"}

    server.process.pause()
    during = run(pod, look_up("web"), processor, output, service="during", lookups=1)
    server.process.kill()

    assert unseen(during) == {"web": "not_arrived"}
    assert during["web"].segments[semconv.SEGMENT_WAITING] >= 900_000_000


@contextmanager
def logging(
    lab: Lab, processor: Processor, logs: Path, corefile: str, address: str
) -> Iterator[None]:
    """Run CoreDNS with its output where a container runtime writes it, and a Collector."""
    name = f"coredns-{address.rpartition('.')[2]}"
    directory = logs / "pods" / f"kube-system_{name}_0" / "coredns"
    directory.mkdir(parents=True)
    collector = lab.collector(
        programs.collector_config() / "coredns-logs.yaml",
        name=f"otelcol-{name}",
        env={"COREDNS_LOGS": f"{logs}/pods/*/*/*.log", "OTEL_DNS_ENDPOINT": processor.otlp},
    )
    path = lab.session.write(f"{name}.Corefile", corefile)
    pod = lab.pod(name, namespace="kube-system", addresses=["", address], nameservers=[])
    pod.start(
        [
            *(sys.executable, "-m", "tests.support.cri", str(directory / "0.log")),
            *(str(programs.find("coredns")), "-conf", str(path)),
        ],
        name=name,
        env=environment.own_source(),
        ready=lambda process: "\nCoreDNS-" in "\n" + process.output(),
    )
    yield
    collector.process.stop()


def test_level_1_log_alone_shows_server_time(lab, processor, output, tmp_path: Path) -> None:
    with logging(lab, processor, tmp_path, corefile(lab, "log"), "10.96.0.21"):
        # A line has the time at which it was read: on a busy machine, after its lookup was over.
        for attempt in range(5):
            lookups = run_storefront(lab, processor, output, "10.96.0.21", f"level-1-{attempt}")
            if counted(lookups) == QUERIES:
                break
    assert counted(lookups) == QUERIES
    assert adds_up(lookups)
    slow = lookups["slow.example."]
    # A log cannot tell the upstream's, and is written after the answer: some of it is cut off.
    assert slow.segments[semconv.SEGMENT_SERVER] >= 25_000_000
    assert not slow.segments[semconv.SEGMENT_UPSTREAM]


def test_a_stock_log_beside_spans_makes_no_query_twice(lab, processor, output, tmp_path) -> None:
    """Neither says that they are of the same query; the spans get the log's ports and ids."""
    trace = f"trace zipkin {processor.zipkin_url} {{\n        service coredns\n    }}"
    before = counts(lab, processor)
    with logging(lab, processor, tmp_path, corefile(lab, "log", trace), "10.96.0.27"):
        lookups = run_storefront(lab, processor, output, "10.96.0.27", "log-and-trace")
    assert counted(lookups) == QUERIES
    assert set(unseen(lookups).values()) == {None}
    assert {lookup.attribute(semconv.LOOKUP_RETRIES) for lookup in lookups.values()} == {0}
    expected = before["messages_tied"] + sum(QUERIES.values())
    eventually(lambda: counts(lab, processor)["messages_tied"] == expected, "a line to each trace")


def counts(lab: Lab, processor: Processor) -> Counter[str]:
    metrics = lab.http_get(f"{processor.http_url}/metrics")[1].decode()
    lines = [line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("otel_dns_")]
    return Counter(
        {
            name.removeprefix("otel_dns_").removesuffix("_total"): round(float(value))
            for name, value in lines
        }
    )


def test_level_2_without_any_instrumentation(lab, output) -> None:
    """What a stock program's lookups leave behind at the server makes lookups of its own."""
    processor = lab.processor(
        ["--server-trace-wait", "2", "--dnstap-listen", "10.244.0.1:6001"],
        name="otel-dns-alone", otlp_listen="10.244.0.1:4517", http_listen="10.244.0.1:9512",
        output=output.otlp,
    )  # fmt: skip
    tap = TAP.replace("6000", "6001")
    lab.cluster_dns(corefile(lab, "metadata", tap), name="coredns-6", address="10.96.0.26")
    pod = lab.pod("plain", namespace="shop", nameservers=["10.96.0.26"])
    for name in ("www.example.org", "paymets", "db"):
        pod.run(["getent", "ahosts", name], check=name != "paymets")

    told = eventually(
        lambda: found if (found := counts(lab, processor))["lookups_inferred"] >= 3 else None,
        "three inferred lookups",
    )
    inferred = {
        name.partition('outcome="')[2].partition('"')[0]: value
        for name, value in told.items()
        if name.startswith("inferred_lookups")
    }
    assert inferred == {"ok": 2, "not_found": 1}
    assert not told["lookups_joined"]


def test_of_all_levels_together_nothing_is_unaccounted_for(lab, processor) -> None:
    def ledger() -> dict[str, Any]:
        status, body = lab.http_get(f"{processor.http_url}/ledger")
        assert status == 200
        return json.loads(body)

    eventually(lambda: ledger()["balanced"], "the ledger to balance")
    gates = ledger()["gates"]
    assert gates["messages"]["out"]["messages_joined"] > 0
    assert gates["export"]["into"]["server_spans_made"] > 0
