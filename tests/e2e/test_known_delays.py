"""Known delays in each hop and segment of real lookups, and where the breakdown finds them.

Between the application, a cache on the node, the cluster's DNS and its upstream are ways that are
late by as much as they are told, and tell what they really took; servers are late by ``erratic``,
the stub by a source of names of its own, dnspython by its pauses. What is found is compared with
what it really was, in the quietest of several: what a busy machine adds in between is nobody's.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import trustme
from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.lab import Lab, Rule, Way, available, scenarios
from otel_dns.lab.capture_files import Capture
from otel_dns.lab.way import Crossing
from otel_dns.service.recordings import Reading, read
from otel_dns.service.recordings.replay import replay_all
from otel_dns.service.sorting import Incoming
from otel_dns.wire import otlp
from otel_dns.wire.otlp import decode
from tests.support.programs import require
from tests.support.waiting import eventually

MS: Final = 1_000_000
TIMES: Final = 8
AT_MOST: Final = 32
"""Lookups of each kind: more than a few only if the machine was never quiet."""
LATE_MS: Final = 30
SERVER_MS: Final = 40
NSS_SOURCE: Final = Path(__file__).parents[1] / "support" / "nss_late.c"
SERVICES: Final = frozenset({"node-cache", "coredns", "upstream"})

AT_THE_CACHE: Final = "10.96.1.5"
AT_THE_CLUSTER: Final = "10.96.1.6"
"""Addresses of the Pod's own that ways lead from: to the cache on the node, and straight to the
cluster's DNS."""
TO_CLUSTER: Final = "127.0.0.2"
TO_UPSTREAM: Final = "127.0.0.3"

APPLICATION: Final = """
import json, socket, sys, threading, time
import dns.exception, dns.resolver

first, beyond, cache, cluster = *map(int, sys.argv[1:3]), *sys.argv[3:5]
slept, sleep = [], time.sleep

def sleeps(seconds):
    before = time.time_ns()
    sleep(seconds)
    slept.append((threading.get_ident(), before, time.time_ns()))

time.sleep = sleeps
pauses = {}

def look_up(name, family):
    try:
        socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)
    except OSError:
        pass

def resolve(name, nameserver, **settings):
    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers = [nameserver]
    for key, value in settings.items():
        setattr(asking, key, value)
    try:
        asking.resolve(name)
    except dns.exception.DNSException:
        pass
    own = threading.get_ident()
    pauses[name] = [one[1:] for one in slept if one[0] == own]

def sources(hosts):
    with open("/etc/nsswitch.conf", "r+") as file:
        file.truncate()
        file.write(f"hosts: {hosts}\\n")

one, both = socket.AF_INET, socket.AF_UNSPEC
for number in range(first, beyond):
    name = lambda row: f"n{number}.{row}.test."
    for row in ("way1", "server1", "way2", "server2", "way3", "server3", "over-tls"):
        look_up(name(row), one)
    sources("late dns")
    look_up(name("before"), one)
    sources("dns late")
    look_up(name("after"), one)
    sources("dns")
    for row in ("way1-aaaa", "server1-aaaa", "way2-a", "server2-aaaa", "way3-a", "server2-both"):
        look_up(name(row), both)
    look_up(f"n{number}.step", one)
    resolve(name("own-way"), cluster)
    resolve(name("own-way2"), cache)

threads = []
for number in range(first, beyond):
    for thread in (
        threading.Thread(target=look_up, args=(f"n{number}.lost.test.", one)),
        threading.Thread(
            target=resolve, args=(f"n{number}.own-lost.test.", cluster),
            kwargs={"timeout": 1.0, "lifetime": 5.0},
        ),
        threading.Thread(
            target=resolve, args=(f"n{number}.own-pause.test.", cluster),
            kwargs={"retry_servfail": True, "lifetime": 0.25},
        ),
    ):
        thread.start()
        threads.append(thread)
for thread in threads:
    thread.join()
print(json.dumps(pauses))
"""

RULES: Final = (
    Rule(r".*\.way1\.test\.", out_ms=LATE_MS, back_ms=LATE_MS),
    Rule(r".*\.way1-aaaa\.test\.", "AAAA", out_ms=LATE_MS, back_ms=LATE_MS),
    Rule(r".*\.step\.two\.test\.", out_ms=LATE_MS, back_ms=LATE_MS),
    Rule(r".*\.own-way\.test\.", out_ms=LATE_MS, back_ms=LATE_MS),
    Rule(r".*\.(own-)?lost\.test\.", lose=1),
)
RULES_2: Final = (
    Rule(r".*\.(own-)?way2\.test\.", out_ms=LATE_MS, back_ms=LATE_MS),
    Rule(r".*\.way2-a\.test\.", "A", out_ms=LATE_MS, back_ms=LATE_MS),
)
RULES_3: Final = (
    Rule(r".*\.way3\.test\.", out_ms=LATE_MS, back_ms=LATE_MS),
    Rule(r".*\.way3-a\.test\.", "A", out_ms=LATE_MS, back_ms=LATE_MS),
)

ERRATIC: Final = "erratic {{\n        drop 0\n        truncate 0\n        delay 1 {}ms\n    }}"
ANSWERS: Final = """\
template IN A {
        answer "{{ .Name }} 60 IN A 192.0.2.7"
    }
    template IN AAAA {
        answer "{{ .Name }} 60 IN AAAA 2001:db8::7"
    }"""
NOTHING: Final = "template ANY ANY . {\n        rcode NXDOMAIN\n    }"
FAILURE: Final = "template ANY ANY . {\n        rcode SERVFAIL\n    }"


def block(zone: str, *lines: str) -> str:
    return f"{zone}:53 {{\n    " + "\n    ".join(lines) + "\n}\n"


def trace(capture: Capture, service: str) -> str:
    return f"trace zipkin {capture.zipkin_url} {{\n        service {service}\n    }}"


def view(type_: str) -> str:
    return f"view {type_} {{\n        expr type() == '{type_}'\n    }}"


def node_cache(capture: Capture) -> str:
    """The stock node-cache's plugins: neither metadata nor dnstap."""
    common = ("bind 169.254.20.10", "errors", "log", trace(capture, "node-cache"))
    slow = ERRATIC.format(SERVER_MS)
    forward = f"forward . {TO_CLUSTER} {{\n        force_tcp\n    }}"
    return (
        block("server1.test", *common, slow)
        + block("server1-aaaa.test", view("AAAA"), *common, slow)
        + block("server1-aaaa.test", *common, ANSWERS)
        + block("one.test", *common, NOTHING)
        + block("two.test", *common, ANSWERS)
        + block(".", *common, "cache 30", forward)
    )


def cluster(capture: Capture, authority: Path) -> str:
    tap = (
        f"dnstap {capture.dnstap} full {{\n        identity coredns\n"
        '        extra "{/trace/traceid} {>id} {port}"\n    }'
    )
    common = ("bind 10.96.0.10", "metadata", "errors", trace(capture, "coredns"), tap)
    slow, slower = ERRATIC.format(SERVER_MS // 2), ERRATIC.format(SERVER_MS)
    return (
        block("server2.test", *common, slower)
        + block("server2-aaaa.test", view("AAAA"), *common, slower)
        + block("server2-aaaa.test", *common, ANSWERS)
        + block("server2-both.test", view("A"), *common, slow)
        + block("server2-both.test", *common, slower)
        + block("own-pause.test", *common, FAILURE)
        + block(
            "over-tls.test",
            *common,
            f"forward . tls://192.0.2.53 {{\n        tls {authority}\n"
            "        tls_servername upstream\n    }",
        )
        + block(".", *common, "cache 30", f"forward . {TO_UPSTREAM}")
    )


def upstream(capture: Capture, certificate: Path, key: Path) -> str:
    common = ("errors", trace(capture, "upstream"))
    slow = ERRATIC.format(SERVER_MS)
    return (
        block("server3.test", *common, slow)
        + f"tls://over-tls.test:853 {{\n    tls {certificate} {key}\n    "
        + "\n    ".join((*common, slow))
        + "\n}\n"
        + block("after.test", *common, NOTHING)
        + block(".", *common, ANSWERS)
    )


class Pause(NamedTuple):
    """A time in which the application's own side did nothing."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Made:
    """What was recorded, and what there really was."""

    times: int
    """Lookups of each kind."""
    recorded: list[Incoming]
    ways: tuple[Mapping[tuple[str, str], list[Crossing]], ...]
    """By name and type: to the first server, to the second, to the third."""
    pauses: Mapping[str, list[Pause]]

    def crossing(self, way: int, name: str, type_: str = "A") -> Crossing:
        """The one crossing of a question that was not lost."""
        (found,) = [one for one in self.ways[way][name, type_] if one.sent_ns]
        return found

    def late(self, name: str, ways: tuple[int, ...], type_: str = "A") -> int:
        """What a question's ways took together."""
        return sum(self.crossing(way, name, type_).late_ns for way in ways)

    def paused(self, name: str) -> int:
        return sum(one.end_ns - one.start_ns for one in self.pauses[name])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    require("coredns")
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    directory = tmp_path_factory.mktemp("late")
    library = directory / "libnss_late.so.2"
    subprocess.run([compiler, "-shared", "-fPIC", NSS_SOURCE, "-o", library], check=True)
    with Lab() as lab:
        capture = lab.capture()
        files = [directory / name for name in ("ca.pem", "cert.pem", "key.pem")]
        authority = trustme.CA()
        certificate = authority.issue_cert("upstream")
        authority.cert_pem.write_to_path(files[0])
        certificate.cert_chain_pems[0].write_to_path(files[1])
        certificate.private_key_pem.write_to_path(files[2])
        lab.upstream_dns(upstream(capture, *files[1:]))
        coredns = lab.cluster_dns(cluster(capture, files[0]))
        lab.node_local_dns(node_cache(capture))
        pod = lab.pod(
            "shop-1", namespace="shop", addresses=["", AT_THE_CACHE, AT_THE_CLUSTER],
            nameservers=[AT_THE_CACHE], search=["one.test", "two.test"],
            options=["ndots:5", "timeout:1"],
        )  # fmt: skip
        ways = [
            lab.way(pod, listen=here, server=there, source=here, rules=RULES)
            for here, there in ((AT_THE_CACHE, "169.254.20.10"), (AT_THE_CLUSTER, "10.96.0.10"))
        ]
        ways.append(lab.way(lab.node, listen=TO_CLUSTER, server="10.96.0.10", rules=RULES_2))
        ways.append(lab.way(coredns.place, listen=TO_UPSTREAM, server="192.0.2.53", rules=RULES_3))
        told: dict[str, list[list[int]]] = {}
        for first in range(0, AT_MOST, TIMES):
            done = pod.run(
                scenarios.instrumented(
                    [
                        *(sys.executable, "-c", APPLICATION, str(first), str(first + TIMES)),
                        *(AT_THE_CACHE, AT_THE_CLUSTER),
                    ]
                ),
                env={
                    **scenarios.client_env(capture.otlp),
                    "OTEL_DNS_CLIENT_MARKS": "edns",
                    "LD_LIBRARY_PATH": str(directory),
                    "NSS_LATE_MS": str(LATE_MS),
                    "NSS_LATE_LOG": str(directory / "late.log"),
                },
                timeout=240,
                check=True,
            )
            told |= json.loads(done.stdout.splitlines()[-1])
            await_all(capture, ways)
            made = Made(
                first + TIMES,
                list(read([capture.directory], Reading(SERVICES))),
                tuple(
                    grouped([one for way in some for one in way.crossings()])
                    for some in (ways[:2], ways[2:3], ways[3:])
                ),
                pauses_of(told, (directory / "late.log").read_text()),
            )
            lookups = joined(made, whole)
            if all(closest(made, lookups, row)[0] < 1.5 * MS for row in ROWS):
                break
        yield made


def await_all(capture: Capture, ways: Sequence[Way]) -> None:
    """Wait for what the servers send, of all that went over the ways."""
    first, straight, second, third = (
        sum(bool(one.sent_ns) for one in way.crossings()) for way in ways
    )
    # What goes over TLS goes by no way of ours: each lookup of that row once.
    over_tls = sum(one.name.endswith(".over-tls.test.") for one in ways[2].crossings())
    expected = {
        "node-cache": first, "coredns": straight + second, "upstream": third + over_tls,
    }  # fmt: skip

    def told() -> bool:
        seen = Counter(
            one["localEndpoint"]["serviceName"]
            for one in capture.zipkin_spans()
            if one["name"] == semconv.SERVEDNS_SPAN
        )
        return seen == expected

    eventually(told, f"server traces: {expected}")
    capture.wait_for_dnstap(2 * expected["coredns"] + 2 * expected["upstream"])


def pauses_of(told: Mapping[str, list[list[int]]], log: str) -> Mapping[str, list[Pause]]:
    """Pauses by looked-up name: of dnspython, and of the source of names that is late."""
    pauses = {name: [Pause(*one) for one in some] for name, some in told.items()}
    for line in log.splitlines():
        name, start, end = line.split()
        pauses.setdefault(name.rstrip(".") + ".", []).append(Pause(int(start), int(end)))
    return pauses


def grouped(crossings: list[Crossing]) -> Mapping[tuple[str, str], list[Crossing]]:
    found: dict[tuple[str, str], list[Crossing]] = {}
    for one in crossings:
        found.setdefault((one.name, one.type), []).append(one)
    return found


# -- views of the recording ------------------------------------------------------------------------


def whole(one: Incoming) -> Incoming:
    return one


def spans_alone(one: Incoming) -> Incoming:
    return one._replace(messages=())


AHEAD: Final = {"coredns": 20 * MS, "upstream": -200 * MS}


def clocks_apart(one: Incoming) -> Incoming:
    """The second server's clock ahead of the first's and the application's, the third's behind."""
    by_ns = AHEAD["coredns"]
    return one._replace(
        server_spans=[
            otlp.move(span, AHEAD.get(otlp.server_instance(span.origin.resource), 0))
            for span in one.server_spans
        ],
        messages=[
            replace(
                each,
                time_ns=each.time_ns + by_ns,
                query_time_ns=each.query_time_ns + by_ns if each.query_time_ns else 0,
            )
            for each in one.messages
        ],
    )


VIEWS: Final = {
    "spans and dnstap": whole,
    "spans": spans_alone,
    "clocks apart": clocks_apart,
}


def joined(made: Made, seen: Callable[[Incoming], Incoming]) -> Mapping[str, JoinedLookup]:
    """Lookups by name."""
    replayed = replay_all(map(seen, made.recorded))
    lookups = joined_lookups(span for sent in replayed.sent for span in decode(sent))
    return {one.name: one for one in lookups}


@pytest.fixture(scope="module")
def found(made: Made, request: pytest.FixtureRequest) -> Mapping[str, JoinedLookup]:
    return joined(made, VIEWS[request.param])


# -- what is where ---------------------------------------------------------------------------------


Truth = Callable[[Made, str], int]
"""What a delay was, by the looked-up name."""


class Row(NamedTuple):
    segment: str
    """Where the delay is to be found; ``plugin:...`` for a plugin's own time."""
    truth: Truth
    hops: int = 3
    """Servers that saw the lookup."""


def late(*ways: int, type_: str = "A") -> Truth:
    return lambda made, name: made.late(name, ways, type_)


def served(way: int, type_: str = "A") -> Truth:
    return lambda made, name: made.crossing(way, name, type_).served_ns


def paused(made: Made, name: str) -> int:
    return made.paused(name)


def paused_and_late(made: Made, name: str) -> int:
    """Stub and network are one to whoever does not see the queries: so is the undelayed way."""
    return made.paused(name) + made.late(name, (0,))


def both_candidates(made: Made, name: str) -> int:
    return made.late(f"{name}.one.test.", (0,)) + made.late(f"{name}.two.test.", (0,))


def timed_out(made: Made, name: str) -> int:
    """From the query that was lost to the one after it, less what dnspython pauses in between."""
    lost, again = sorted(made.ways[0][name, "A"], key=lambda one: one.came_ns)
    own_ns = made.paused(name) if name in made.pauses else 0
    return again.came_ns - lost.came_ns - own_ns


ROWS: Final = {
    "way1": Row("stub_network", late(0)),
    "server1": Row("plugin:erratic", served(0), hops=1),
    "way2": Row("upstream", late(1, 2)),
    "server2": Row("plugin:erratic", served(1), hops=2),
    "way3": Row("upstream", late(1, 2)),
    "server3": Row("plugin:erratic", served(2)),
    "over-tls": Row("plugin:erratic", lambda made, name: SERVER_MS * MS),
    "before": Row("stub_network", paused_and_late),
    "after": Row("stub_network", paused_and_late),
    "way1-aaaa": Row("stub_network", late(0, type_="AAAA")),
    "server1-aaaa": Row("plugin:erratic", served(0, "AAAA"), hops=1),
    "way2-a": Row("upstream", late(1, 2)),
    "server2-aaaa": Row("plugin:erratic", served(1, "AAAA"), hops=2),
    "way3-a": Row("upstream", late(1, 2)),
    "server2-both": Row("plugin:erratic", served(1, "AAAA"), hops=2),
    "step": Row("stub_network", both_candidates, hops=1),
    "lost": Row("waiting", timed_out),
    "own-way": Row("network", late(0), hops=2),
    "own-way2": Row("upstream", late(1, 2)),
    "own-lost": Row("waiting", timed_out, hops=2),
    "own-pause": Row("stub", paused, hops=1),
}


def distances(
    made: Made, lookups: Mapping[str, JoinedLookup], row: str
) -> Iterator[tuple[int, JoinedLookup]]:
    """How far what is found is from what it was, in nanoseconds, for each lookup of a row."""
    segment, truth, _ = ROWS[row]
    ending = "" if row == "step" else ".test."
    whole_segment, _, plugin = segment.partition(":")
    for number in range(made.times):
        lookup = lookups[f"n{number}.{row}{ending}"]
        spent = lookup.plugins.get(plugin, 0) if plugin else lookup.segments[whole_segment]
        yield abs(spent - truth(made, lookup.name)), lookup


def closest(made: Made, lookups: Mapping[str, JoinedLookup], row: str) -> tuple[int, JoinedLookup]:
    return min(distances(made, lookups, row), key=lambda one: one[0])


def hops(lookup: JoinedLookup) -> int:
    """How many servers one of its queries went through, at most."""
    return max(
        [plugin.name for plugin in query.plugins].count(semconv.SERVEDNS_SPAN)
        for query in lookup.queries
    )


CASES: Final = [
    (view_, row)
    for view_ in VIEWS
    for row in ROWS
    # Only dnstap shows the mark in dnspython's queries.
    if not (row.startswith("own-") and view_ == "spans")
]


@pytest.mark.parametrize(("found", "row"), CASES, indirect=["found"])
def test_a_delay_is_found_where_it_was_put(
    made: Made, found: Mapping[str, JoinedLookup], row: str
) -> None:
    for _, lookup in distances(made, found, row):
        assert sum(lookup.segments.values()) == lookup.duration_ns
    off_ns, quietest = closest(made, found, row)
    assert off_ns < 2 * MS, (off_ns / MS, quietest.segments, quietest.plugins)
    # A hop that a busy machine put outside of its `connect` is not found: one other will do.
    quiet = [lookup for off_ns, lookup in distances(made, found, row) if off_ns < 2 * MS]
    assert ROWS[row].hops in map(hops, quiet)
