"""The letter-case mark of getaddrinfo: through the real C library, to a real CoreDNS."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from otel_dns import marks, semconv
from otel_dns.lab import Lab, available
from otel_dns.lab.capture_files import Capture
from otel_dns.lab.places import Pod
from otel_dns.model import Message
from otel_dns.wire import dnstap
from tests.support.programs import require
from tests.support.waiting import eventually

ALIAS = """\
template IN A alias.shop.svc.cluster.local {
    answer "{{ .Name }} 5 IN CNAME db.shop.svc.cluster.local."
    answer "db.shop.svc.cluster.local. 5 IN A 10.96.0.20"
}
"""
NAMES = ["db", "Payments.Shop", "db.shop.svc.cluster.local.", "alias", "www.example.org", "nothing"]

ASK = """
import json, socket, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import otel_dns.client

def ask(name):
    try:
        return socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except OSError as error:
        return [repr(error)]

names = json.loads(sys.argv[1])
bare = [ask(name) for name in names]
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
otel_dns.client.instrument(tracer_provider=provider, marks="case")
marked = [ask(name) for name in names]
spans = [
    [f"{one.context.trace_id:032x}", f"{one.context.span_id:016x}", dict(one.attributes)]
    for one in exporter.get_finished_spans()
]
print(json.dumps({"bare": bare, "marked": marked, "spans": spans}))
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[tuple[Pod, Capture]]:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    require("coredns")
    with Lab() as lab:
        capture = lab.capture()
        lab.upstream_dns()
        lab.cluster_dns(zipkin=None, dnstap=capture.dnstap, cache=0, extra=ALIAS)
        yield lab.pod("shop-1", namespace="shop"), capture


def tapped(capture: Capture) -> list[Message]:
    messages = map(dnstap.decode, capture.dnstap_messages())
    return [one for one in messages if isinstance(one, Message) and one.kind == "CQ"]


def test_names_go_out_marked_and_the_application_does_not_see_it(
    shop: tuple[Pod, Capture],
) -> None:
    pod, capture = shop
    done = pod.run([sys.executable, "-c", ASK, json.dumps(NAMES)], check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["marked"] == said["bare"]
    canonical = [entry[0][3] if len(entry[0]) == 5 else None for entry in said["marked"]]
    assert canonical[-1] is None
    assert all(canonical[:-1])

    asked: dict[str, set[str]] = {name: set() for name in NAMES}
    eventually(lambda: len(tapped(capture)) >= 2 * 2 * len(NAMES), "dnstap of all queries")
    for trace_id, span_id, attributes in said["spans"]:
        name = attributes[semconv.DNS_QUESTION_NAME]
        assert attributes[semconv.LOOKUP_MARKED] == semconv.MARK_CASE
        ids = bytes.fromhex(trace_id), bytes.fromhex(span_id)
        letters = sum(map(str.isalpha, name))
        for message in tapped(capture):
            if marks.letters_in_case(message.asked, name, *ids) == letters:
                asked[name].add(f"{message.name} {message.type}")
    # A and AAAA of each candidate: of the longer names nobody else's query agrees.
    domains = ("shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", "")
    assert asked["www.example.org"] == {
        f"www.example.org.{domain} {kind}" for domain in domains for kind in ("A", "AAAA")
    }
    assert asked["db.shop.svc.cluster.local."] == {
        f"db.shop.svc.cluster.local. {kind}" for kind in ("A", "AAAA")
    }
    assert all(asked.values())
