"""collector-config/corefiles on the real CoreDNS: each gives its level's evidence."""

import re
from collections.abc import Iterable

import pytest

from otel_dns.corefile import check, parse
from otel_dns.lab import Lab, dns
from otel_dns.lab.capture_files import Capture
from otel_dns.lab.programs import collector_config
from otel_dns.model import Message
from otel_dns.wire import Unused, coredns_log, dnstap
from tests.support.waiting import eventually

DIRECTORY = collector_config() / "corefiles"
LEVELS = range(5)
_KUBERNETES = re.compile(r"^    kubernetes .*?^    \}$", re.MULTILINE | re.DOTALL)


def text(level: int) -> str:
    return (DIRECTORY / f"level-{level}.Corefile").read_text()


@pytest.mark.parametrize("level", LEVELS)
def test_the_check_names_its_level_and_finds_no_fault(level: int) -> None:
    report = check(parse(text(level)))
    assert report.level.number == level
    assert {one.severity for one in report.findings} == ({"warning"} if level == 4 else set())


def of_pods(found: Iterable[Message | Unused]) -> list[Message]:
    """Messages of queries of Pods: plugin loop asks for itself, at the start, for HINFO."""
    return [one for one in found if isinstance(one, Message) and one.type == "A"]


def tapped_at(capture: Capture) -> list[Message]:
    return of_pods(map(dnstap.decode, capture.dnstap_messages()))


@pytest.mark.parametrize("level", LEVELS)
def test_it_gives_its_evidence(level: int, lab: Lab) -> None:
    capture = lab.capture(f"level-{level}", otlp_port=None)
    zone = dns.write_zones(lab.session) / "cluster.local.zone"
    # There is no API server in the lab: the cluster's zone comes from a file.
    written, count = _KUBERNETES.subn(f'    file "{zone}" cluster.local', text(level))
    assert count == 1
    written = written.replace("{$OTEL_DNS_ADDRESS}:6000", capture.dnstap.removeprefix("tcp://"))
    written = written.replace("http://{$NODE_IP}:9411/api/v2/spans", capture.zipkin_url)
    written = written.replace("lameduck 5s", "lameduck 10ms")
    server = lab.cluster_dns(written, name=f"coredns-{level}", address=f"10.96.0.{20 + level}")
    pod = lab.pod(f"client-{level}", namespace="shop", nameservers=[server.address])
    for name in ("db", "www.example.org"):
        assert pod.run(["getent", "ahostsv4", name], check=True).stdout
    queries = 1 + 4  # the search list's three, and the name itself

    def logged() -> list[Message]:
        return of_pods(map(coredns_log.parse, server.log.read_text().splitlines()))

    if level == 1:
        # A line is written after its answer has gone.
        eventually(lambda: len(logged()) >= queries, f"{queries} queries in the log")
        assert len(logged()) == queries
    else:
        assert not logged()
    if level >= 2:
        wanted = 2 * queries + 2  # and the exchange with the upstream
        messages = eventually(
            lambda: tapped if len(tapped := tapped_at(capture)) >= wanted else None,
            f"{wanted} dnstap messages",
        )
        assert len(messages) == wanted
        assert all(one.name and one.dns_id for one in messages)
    else:
        assert not capture.dnstap_messages()
    if level == 4:
        told = {message.trace_id.hex() for message in messages}
        eventually(
            lambda: told <= {one["traceId"] for one in capture.zipkin_spans()},
            "the spans of every query",
        )
    elif level < 3:
        assert not capture.zipkin_spans()
    capture.process.stop()
    server.process.stop()
