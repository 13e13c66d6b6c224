"""Lookups of musl's resolver: what it really sends, and that the join knows it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from otel_dns import names, semconv
from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.lab import Lab, available
from otel_dns.lab.capture_files import Capture
from otel_dns.lab.places import Pod
from otel_dns.model import Message
from otel_dns.service.recordings.replay import replay_all
from otel_dns.service.sorting import Incoming, sort_otlp, sort_spans
from otel_dns.wire import dnstap, zipkin
from otel_dns.wire.otlp import decode
from tests.support.programs import require
from tests.support.spans import new_id
from tests.support.waiting import eventually

SOURCE: Final = Path(__file__).parents[1] / "support" / "musl_lookup.c"
SERVERS: Final = {"one": "10.96.0.41", "two": "10.96.0.42"}
SEARCH: Final = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
NDOTS: Final = 5
SLOW_MS: Final = 2_000

LOOKUPS: Final = {
    "www.out.test": 8,  # dots, but not enough: the search list first
    "ftp.out.test.": 2,
    "a.b.c.d.e.out.test": 2,  # enough: not the search list, whatever comes of it
    "slow.out.test.": 2,  # one of two nameservers answers late
}
"""Names, with the queries of each at one nameserver."""


def corefile(name: str, capture: Capture) -> str:
    slow = (
        f"erratic {{\n        drop 0\n        delay 1 {SLOW_MS}ms\n    }}" if name == "one" else ""
    )
    common = f"""\
    metadata
    errors
    trace zipkin {capture.zipkin_url} {{
        service {name}
    }}
    dnstap {capture.dnstap} full {{
        identity {name}
        extra "{{/trace/traceid}} {{>id}} {{port}}"
    }}
"""
    answers = """\
    template IN A out.test {
        match "^(www|ftp|slow)\\.out\\.test\\.$"
        answer "{{ .Name }} 60 IN A 192.0.2.7"
        fallthrough
    }
    template IN AAAA out.test {
        match "^(www|ftp|slow)\\.out\\.test\\.$"
        answer "{{ .Name }} 60 IN AAAA 2001:db8::7"
        fallthrough
    }
"""
    nothing = "    template ANY ANY . {\n        rcode NXDOMAIN\n    }\n"
    return (
        f"slow.out.test:53 {{\n{common}    {slow or answers}\n}}\n"
        f".:53 {{\n{common}{answers}{nothing}}}\n"
    )


class Told(NamedTuple):
    """What was seen of one Pod's lookups."""

    client: list[ExportTraceServiceRequest]
    address: str


class Seen(NamedTuple):
    pods: dict[str, Told]
    spans: list[Incoming]
    messages: list[Message]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Lookups in a Pod with one nameserver, and in one with two."""
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    require("coredns")
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.skip("no musl-gcc (Debian's musl-tools)")
    program = tmp_path_factory.mktemp("musl") / "lookup"
    subprocess.run([compiler, "-static", "-O1", SOURCE, "-o", program], check=True)
    with Lab() as lab:
        capture = lab.capture(otlp_port=None)
        for name, address in SERVERS.items():
            lab.cluster_dns(corefile(name, capture), name=name, address=address)
        pods: dict[str, Told] = {}
        for count, asked in ((1, ["two"]), (2, ["one", "two"])):
            pod = lab.pod(
                f"musl-{count}", namespace="shop", options=[f"ndots:{NDOTS}"],
                nameservers=[SERVERS[each] for each in asked],
            )  # fmt: skip
            pods[pod.name] = Told(look_up(pod, program, asked), pod.address)
        expected = 3 * sum(LOOKUPS.values())  # the second Pod asks twice

        def messages() -> list[Message]:
            told = [dnstap.decode(each) for each in capture.dnstap_messages()]
            return [each for each in told if isinstance(each, Message)]

        told = eventually(
            lambda: found if len(found := messages()) >= 2 * expected else None,
            f"{expected} queries and answers",
        )
        eventually(
            lambda: sum(one["name"] == "servedns" for one in capture.zipkin_spans()) >= expected,
            f"{expected} server traces",
        )
        services = frozenset(SERVERS)
        bodies = capture.zipkin.read_bytes().splitlines()
        spans = [sort_spans(*zipkin.decode(body), services) for body in bodies]
        yield Seen(pods, spans, told)


def look_up(pod: Pod, program: Path, nameservers: list[str]) -> list[ExportTraceServiceRequest]:
    """Look all names up; the spans that the client would have made."""
    done = pod.run([str(program), *LOOKUPS], timeout=240, check=True)
    return [span_of(line, pod, nameservers) for line in done.stdout.splitlines()]


def span_of(line: str, pod: Pod, nameservers: list[str]) -> ExportTraceServiceRequest:
    name, error, start, end = line.split()
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    scope.scope.name = semconv.CLIENT_SCOPE
    span = scope.spans.add(
        trace_id=new_id(16), span_id=new_id(), name=semconv.LOOKUP_SPAN, kind=3,
        start_time_unix_nano=int(start), end_time_unix_nano=int(end),
    )  # fmt: skip
    search = AnyValue(
        array_value=ArrayValue(values=[AnyValue(string_value=each) for each in SEARCH])
    )
    attributes: dict[str, AnyValue] = {
        semconv.DNS_QUESTION_NAME: AnyValue(string_value=name),
        semconv.CLIENT_ADDRESS: AnyValue(string_value=pod.address),
        semconv.RESOLVER_KIND: AnyValue(string_value="musl"),
        semconv.RESOLVER_SEARCH: search,
        semconv.RESOLVER_NDOTS: AnyValue(int_value=NDOTS),
    }
    if int(error):
        attributes[semconv.ERROR_TYPE] = AnyValue(string_value="host_not_found")
    for key, value in attributes.items():
        span.attributes.append(KeyValue(key=key, value=value))
    return request


def asked(seen: Seen, pod: str) -> list[Message]:
    """The queries of a Pod, in the order in which the servers saw them."""
    ours = [each for each in seen.messages if each.client == seen.pods[pod].address]
    return sorted((each for each in ours if each.kind == "CQ"), key=lambda each: each.time_ns)


@pytest.mark.parametrize("pod", ["musl-1", "musl-2"])
def test_it_asks_for_the_names_that_we_say(seen, pod) -> None:
    tried = list(dict.fromkeys(each.name for each in asked(seen, pod)))
    expected = [names.candidates(name, SEARCH, NDOTS, "musl") for name in LOOKUPS]
    assert tried == list(dict.fromkeys(one for some in expected for one in some))


def test_both_families_and_all_nameservers_are_asked_from_one_port(seen) -> None:
    queries = asked(seen, "musl-2")
    for port, name in {(each.client_port, each.name) for each in queries}:
        volley = [each for each in queries if (each.client_port, each.name) == (port, name)]
        ids = {each.type: each.dns_id for each in volley}
        assert len(set(ids.values())) == 2
        assert {(each.type, each.dns_id) for each in volley} == set(ids.items())
        assert {(each.type, each.server) for each in volley} == {
            (type_, server) for type_ in ("A", "AAAA") for server in SERVERS
        }


@pytest.mark.parametrize("pod", ["musl-1", "musl-2"])
@pytest.mark.parametrize("evidence", ["spans", "spans and dnstap", "dnstap"])
def test_it_is_joined_whole(seen, pod, evidence) -> None:
    lookups = joined(seen, pod, evidence)
    assert lookups.keys() == LOOKUPS.keys()
    for name, lookup in lookups.items():
        # On a busy machine a query may reach the other nameserver only after the lookup's end.
        assert len({(query.name, query.type) for query in lookup.queries}) == LOOKUPS[name]
        if pod == "musl-1":
            assert len(lookup.queries) == LOOKUPS[name]
        assert lookup.attribute(semconv.LOOKUP_RETRIES) == 0
        assert sum(lookup.segments.values()) == lookup.duration_ns


@pytest.mark.parametrize("evidence", ["spans", "dnstap"])
def test_nobody_waited_for_the_nameserver_that_is_slow(seen, evidence) -> None:
    lookup = joined(seen, "musl-2", evidence)["slow.out.test."]
    assert "erratic" not in lookup.plugins
    slow = [query for query in lookup.queries if query.server == "one"]
    assert all(query.end_ns - query.start_ns >= SLOW_MS * 1_000_000 for query in slow)
    if slow:
        assert lookup.attribute(semconv.AFTER_ANSWER) >= SLOW_MS * 900_000
    assert lookup.segments["server"] <= sum(
        query.end_ns - query.start_ns for query in lookup.queries if query.server == "two"
    )


def joined(seen: Seen, pod: str, evidence: str) -> dict[str, JoinedLookup]:
    parts = [sort_otlp(one.SerializeToString(), frozenset()) for one in seen.pods[pod].client]
    if "spans" in evidence:
        parts += seen.spans
    if "dnstap" in evidence:
        parts.append(parts[0]._replace(lookups=[], messages=seen.messages))
    replayed = replay_all(parts)
    found = joined_lookups(view for sent in replayed.sent for view in decode(sent))
    return {one.name: one for one in found}
