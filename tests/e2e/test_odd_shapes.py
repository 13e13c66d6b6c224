"""Lookups that look odd at the server, of the real C library and the real CoreDNS."""

import sys
from collections.abc import Iterator
from typing import Final

import pytest

from otel_dns import semconv
from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.lab import Lab, available, scenarios
from otel_dns.wire.otlp import decode
from tests.support.programs import require
from tests.support.waiting import eventually

NAMESERVER: Final = "10.96.0.30"
DEAD: Final = "10.96.0.31"
"""A Pod that nothing listens in."""

ZONE: Final = """\
$ORIGIN odd.test.
$TTL 60
@     IN SOA ns hostmaster 1 7200 1800 86400 60
@     IN NS  ns
ns    IN A   192.0.2.1
www   IN A   192.0.2.2
www   IN AAAA 2001:db8::2
alias IN CNAME other
other IN CNAME www
four  IN A   192.0.2.4
""" + "".join(f"many IN A 192.0.2.{number}\n" for number in range(100, 160))

SIX_ZONE: Final = """\
$ORIGIN six.test.
@     60 IN SOA ns hostmaster 1 7200 1800 86400 60
@     60 IN NS  ns
ns    60 IN A   192.0.2.1
four  60 IN A   192.0.2.6
"""

LOOK_UP: Final = """
import socket, sys
for name in sys.argv[1:]:
    try:
        socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError:
        pass
"""

PODS: Final = {
    "plain": (
        [NAMESERVER], ["ndots:5"],
        ["www.odd.test.", "www.odd.test", "alias.odd.test.", "many.odd.test.", "refused.odd.test.",
         "old.odd.test.", "four.six.test."],
    ),
    "single": ([NAMESERVER], ["ndots:5", "single-request"], ["www.odd.test."]),
    "rotate": (
        [DEAD, NAMESERVER], ["ndots:5", "rotate", "attempts:2"],
        ["www.odd.test.", "alias.odd.test."],
    ),
}  # fmt: skip


def corefile(lab: Lab, zipkin: str) -> str:
    zone = lab.session.write("odd.zone", ZONE)
    six = lab.session.write("six.zone", SIX_ZONE)
    trace = f"trace zipkin {zipkin} {{\n        service coredns\n    }}"
    return f"""\
odd.test:53 {{
    errors
    {trace}
    rewrite name old.odd.test www.odd.test
    template IN AAAA refused.odd.test {{
        rcode REFUSED
    }}
    template IN A refused.odd.test {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.9"
    }}
    file {zone}
}}
six.test:53 {{
    errors
    {trace}
    dns64 {{
        allow_ipv4
    }}
    file {six}
}}
.:53 {{
    errors
    {trace}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


@pytest.fixture(scope="module")
def lookups() -> Iterator[dict[tuple[str, str], JoinedLookup]]:
    """Every lookup, by Pod and name."""
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    require("coredns")
    with Lab() as lab:
        output = lab.capture("joined", otlp_port=14317, zipkin_port=None, dnstap_port=None)
        processor = lab.processor(["--settle", "5"], output=output.otlp)
        lab.cluster_dns(corefile(lab, processor.zipkin_url), address=NAMESERVER)
        lab.pod("dead", addresses=["", DEAD], nameservers=[])
        for name, (nameservers, options, names) in PODS.items():
            pod = lab.pod(name, namespace="shop", nameservers=nameservers, options=options)
            pod.run(
                scenarios.instrumented([sys.executable, "-c", LOOK_UP, *names]),
                env=scenarios.client_env(processor.otlp, service=name),
                timeout=240,
                check=True,
            )

        def found() -> dict[tuple[str, str], JoinedLookup]:
            requests = [request.SerializeToString() for request in output.trace_requests()]
            return {
                (str(one.span.resource[semconv.SERVICE_NAME]), one.name): one
                for one in joined_lookups(view for request in requests for view in decode(request))
            }

        expected = sum(len(names) for _, _, names in PODS.values())
        yield eventually(
            lambda: all_ if len(all_ := found()) >= expected else None,
            f"{expected} lookups",
        )


A_AND_AAAA: Final = {("A", "NOERROR"): 1, ("AAAA", "NOERROR"): 1}
SHAPES: Final = {
    ("plain", "www.odd.test."): A_AND_AAAA,
    ("plain", "www.odd.test"): {
        ("A", "NXDOMAIN"): 3, ("AAAA", "NXDOMAIN"): 3, ("A", "NOERROR"): 1, ("AAAA", "NOERROR"): 1,
    },
    ("plain", "alias.odd.test."): A_AND_AAAA,
    ("plain", "four.six.test."): A_AND_AAAA,
    ("single", "www.odd.test."): A_AND_AAAA,
    ("rotate", "www.odd.test."): A_AND_AAAA,
    ("rotate", "alias.odd.test."): A_AND_AAAA,
}  # fmt: skip


@pytest.mark.parametrize("which", SHAPES, ids=" ".join)
def test_it_is_joined_whole(lookups, which) -> None:
    lookup = lookups[which]
    queries: dict[tuple[str, str], int] = {}
    for query in lookup.queries:
        asked = query.type, query.rcode
        queries[asked] = queries.get(asked, 0) + 1
    assert queries == SHAPES[which]
    assert lookup.attribute(semconv.LOOKUP_OUTCOME) == "ok"
    # A machine that is busy makes gaps that are not a stub's; how sure is measured elsewhere.
    assert lookup.attribute(semconv.JOIN_CERTAINTY) in {"sure", "unsure"}
    assert lookup.attribute(semconv.JOIN_UNSEEN) is None
    assert sum(lookup.segments.values()) == lookup.duration_ns


def test_truncation_and_tcp_are_in_one_lookup(lookups) -> None:
    """Truncated over UDP, and again over TCP, both families with it.

    glibc does all of that anew whenever the addresses do not fit its buffer: three times for 60.
    """
    lookup = lookups["plain", "many.odd.test."]
    types = [query.type for query in lookup.queries]
    assert types.count("A") == types.count("AAAA") >= 2
    assert len(types) % 4 == 0
    assert lookup.attribute(semconv.LOOKUP_RETRIES) == len(types) - 4  # TCP is none
    assert sum(lookup.segments.values()) == lookup.duration_ns


def test_one_family_that_is_refused_is_seen_beside_the_other(lookups) -> None:
    lookup = lookups["plain", "refused.odd.test."]
    assert {(one.type, one.rcode) for one in lookup.queries} == {
        ("A", "NOERROR"), ("AAAA", "REFUSED"),
    }  # fmt: skip
    assert lookup.attribute(semconv.LOOKUP_OUTCOME) == "ok"
    assert sum(lookup.segments.values()) == lookup.duration_ns


def test_a_rewritten_name_is_not_guessed(lookups) -> None:
    """The spans have the name after the rewrite; only dnstap and the log have the other."""
    lookup = lookups["plain", "old.odd.test."]
    assert lookup.attribute(semconv.JOIN_METHOD) == "none"
    assert lookup.attribute(semconv.JOIN_UNSEEN) == "lost"


def test_dns64_asks_within_the_query_that_it_answers(lookups) -> None:
    lookup = lookups["plain", "four.six.test."]
    plugins = [[plugin.name for plugin in query.plugins] for query in lookup.queries]
    assert sorted(names.count("dns64") for names in plugins) == [1, 2]
