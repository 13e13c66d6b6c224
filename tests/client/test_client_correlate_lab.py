"""The letter-case mark of getaddrinfo: through the real C library, to a real CoreDNS."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from otel_dns import semconv
from otel_dns.join import JoinSettings, Outcome
from otel_dns.lab import Lab, available
from otel_dns.lab.capture_files import Capture
from otel_dns.lab.places import Pod
from otel_dns.model import Message, Resolution
from otel_dns.service.recordings import Reading, read
from otel_dns.service.stream import Stream
from otel_dns.wire import dnstap
from tests.support.marks import letters_in_case
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


TOGETHER = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
import otel_dns.client

endpoint, name = sys.argv[1:]
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=True)))
otel_dns.client.instrument(tracer_provider=provider, marks="case")
ready = Barrier(16)

def ask(_):
    ready.wait()
    socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)

with ThreadPoolExecutor(16) as pool:
    list(pool.map(ask, range(16)))
provider.shutdown()
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
        lab.cluster_dns(zipkin=capture.zipkin_url, dnstap=capture.dnstap, cache=0, extra=ALIAS)
        yield lab.pod("shop-1", namespace="shop"), capture


def tapped(capture: Capture) -> list[Message]:
    messages = map(dnstap.decode, capture.dnstap_messages())
    return [one for one in messages if isinstance(one, Message) and one.kind == "CQ"]


def roots(capture: Capture, name: str) -> int:
    """How many queries for a name, and for candidates of it, CoreDNS's spans tell of."""
    return sum(
        span["name"] == semconv.SERVEDNS_SPAN
        and span["tags"][semconv.COREDNS_NAME].lower().startswith(f"{name}.")
        for span in capture.zipkin_spans()
    )


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

    # A and AAAA of each candidate: of the longer names nobody else's query agrees.
    domains = ("shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", "")
    expected = {
        "www.example.org": {
            f"www.example.org.{domain} {kind}" for domain in domains for kind in ("A", "AAAA")
        },
        "db.shop.svc.cluster.local.": {
            f"db.shop.svc.cluster.local. {kind}" for kind in ("A", "AAAA")
        },
    }

    def marked() -> dict[str, set[str]] | None:
        asked: dict[str, set[str]] = {name: set() for name in NAMES}
        for trace_id, span_id, attributes in said["spans"]:
            name = attributes[semconv.DNS_QUESTION_NAME]
            ids = bytes.fromhex(trace_id), bytes.fromhex(span_id)
            letters = sum(map(str.isalpha, name))
            for message in tapped(capture):
                if letters_in_case(message.asked, name, *ids) == letters:
                    asked[name].add(f"{message.name} {message.type}")
        whole = all(asked[name] >= queries for name, queries in expected.items())
        return asked if whole and all(asked.values()) else None

    assert {one[2][semconv.LOOKUP_MARKED] for one in said["spans"]} == {semconv.MARK_CASE}
    asked = eventually(marked, "dnstap of all marked queries")
    assert {name: asked[name] for name in expected} == expected


class Joined:
    """What the processor makes of all that was captured."""

    def __init__(self, capture: Capture) -> None:
        self.resolutions: list[Resolution] = []
        stream = Stream(JoinSettings(), lambda _request, _spans: None, observers=[self])
        for incoming in read([capture.directory], Reading(frozenset({"coredns"}))):
            stream.take(incoming, 0)
        stream.drain()

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        self.resolutions += [one for one in outcomes if isinstance(one, Resolution)]


def test_lookups_of_one_name_at_one_moment_have_each_their_own(shop: tuple[Pod, Capture]) -> None:
    """Which by time nobody could tell apart."""
    pod, capture = shop
    name = "mail.example.net"
    pod.run([sys.executable, "-c", TOGETHER, capture.otlp, name], check=True)
    queries = 16 * 4 * 2
    # Of this name: what the test before caused may still be on its way.
    eventually(
        lambda: sum(one.name.startswith(f"{name}.") for one in tapped(capture)) >= queries,
        "dnstap of all queries",
    )
    eventually(lambda: roots(capture, name) >= queries, "CoreDNS's spans of all queries")
    found = [one for one in Joined(capture).resolutions if one.lookup.name == name]
    assert len(found) == 16
    joined = set()
    for resolution in found:
        join = resolution.join
        assert (join.method, join.certainty) == (semconv.METHOD_CASE, semconv.CERTAINTY_SURE)
        assert len(join.traces) == 8
        assert len({(one.trace.name, one.trace.type) for one in join.traces}) == 8
        assert {one.trace.source for one in join.traces} == {semconv.SOURCE_TRACE}
        # A witness that no mark has a part in: A and AAAA of a candidate leave from one port. (That
        # of another's may be the same, once it is free again.)
        assert len({(one.trace.name, one.trace.client_port) for one in join.traces}) == 4
        joined |= {one.trace.root.span_id for one in join.traces}
    assert len(joined) == queries
