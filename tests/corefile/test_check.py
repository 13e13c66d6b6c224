"""Levels, ways of joining, and the traps."""

import json
import subprocess

import pytest
from click.testing import CliRunner

from otel_dns.cli import main
from otel_dns.corefile import check, parse
from otel_dns.corefile.check import PLUGINS
from tests.support.programs import require

EXTRA = 'extra "{/trace/traceid} {>id} {port}"'
FULL = f"dnstap tcp://10.0.0.1:6000 full {{\n {EXTRA}\n }}"
RATE = (
    "trace zipkin http://10.0.0.1:9411/api/v2/spans {\n every %d\n zipkin_max_backlog_size 200\n }"
)


def corefile(*lines: str, key: str = ".:53") -> str:
    return f"{key} {{\n " + "\n ".join(lines) + "\n}\n"


@pytest.mark.parametrize(
    ("lines", "level", "rungs"),
    [
        ([], 0, ""),
        (["log"], 1, "id time"),
        (['log . "{name} {rcode}"'], 0, ""),
        (["dnstap tcp://10.0.0.1:6000"], 1, "time"),
        ([f"dnstap tcp://10.0.0.1:6000 {{\n {EXTRA}\n }}", "metadata"], 1, "id time"),
        (["metadata", FULL], 2, "edns id case time"),
        (["dnstap unix:///run/dnstap.sock full"], 2, "edns id case time"),
        (["dnstap listen tcp://0.0.0.0:6000 full"], 0, ""),
        (["metadata", FULL, RATE % 100], 3, "edns id case time"),
        ([RATE % 100], 3, "time"),
        (["metadata", FULL, RATE % 1], 4, "edns id case time"),
        (["trace 10.0.0.1:9411"], 4, "time"),
        ([RATE % 0], 0, ""),
    ],
)
def test_level_and_ways_of_joining(lines: list[str], level: int, rungs: str) -> None:
    report = check(parse(corefile(*lines)))
    assert report.level.number == level
    assert report.blocks[0].rungs == tuple(rungs.split())


def test_dns_over_https_takes_the_clients_context() -> None:
    report = check(parse(corefile(RATE % 1, key="https://.:443")))
    assert report.blocks[0].rungs == ("context", "time")


@pytest.mark.parametrize(
    ("lines", "severity", "line", "said"),
    [
        (["trace zipkin zipkin.observability:9411"], "error", 2, "is a name"),
        (["trace http://collector:9411/api/v2/spans"], "error", 2, "is a name"),
        (["trace datadog 10.0.0.1:8126"], "error", 2, "datadog"),
        (["trace"], "note", 2, "without an endpoint"),
        (["trace 10.0.0.1:9411"], "warning", 2, "every query is traced"),
        ([RATE % 0], "warning", 2, "no query at all"),
        ([RATE % 100, RATE % 100], "warning", 6, "second trace"),
        (["trace 10.0.0.1:9411 {\n every 100\n zipkin_max_backlog_size 200000\n}"], "warning", 4,
         "backlog of 200000"),
        (["trace 10.0.0.1:9411 {\n every 100\n }"], "note", 2, "again and again"),
        (["trace 10.0.0.1:9411 {\n every 100\n client_server\n}"], "note", 2, "client_server"),
        (["dnstap tcp://otel-dns.obs.svc:6000 full"], "warning", 2, "is a name"),
        (["dnstap tcp://10.0.0.1:6000"], "warning", 2, "without `full`"),
        (["dnstap tcp://10.0.0.1:6000 full"], "note", 2, "without `extra`"),
        (["metadata", 'dnstap tcp://10.0.0.1:6000 full {\n extra "{port}"\n}'], "warning", 3,
         "does not read"),
        (["dnstap listen tcp://0.0.0.0:6000"], "warning", 2, "listens itself"),
        ([FULL], "error", 2, "without plugin metadata"),
        (['log . "{common} {/trace/traceid}"'], "error", 2, "without plugin metadata"),
        (['log . "{name}"'], "warning", 2, "no port and id"),
        (["log . {\n class error\n}"], "note", 3, "class error"),
        (["log example.org"], "note", 2, "only queries under example.org"),
        (["debug"], "warning", 2, "panic"),
        (["rewrite name a b", FULL, "metadata"], "note", 2, "order is that of the build"),
        (["bufsize 1232", RATE % 100], "note", 3, "bufsize run before trace"),
        (["import *.conf"], "note", 2, "not looked at"),
        (["forwrad . 1.1.1.1"], "warning", 2, "'forwrad' is no plugin"),
        ([], "warning", 1, "every query is refused"),
        (["metadata", FULL.replace('}"', '} {/kubernetes/client-pod-name}"'),
          "kubernetes cluster.local"], "warning", 1, "pods verified"),
    ],
)  # fmt: skip
def test_traps(lines: list[str], severity: str, line: int, said: str) -> None:
    findings = check(parse(corefile(*lines))).findings
    assert [(one.severity, one.line) for one in findings if said in one.text] == [(severity, line)]


def test_plugins_are_those_of_the_real_program() -> None:
    told = subprocess.run(
        [require("coredns"), "-plugins"], capture_output=True, text=True, check=True
    ).stdout
    assert set(told.split()) == PLUGINS


def test_nothing_to_find_in_good_ones() -> None:
    for lines in (["log"], ["metadata", FULL], ["metadata", FULL, RATE % 100]):
        assert check(parse(corefile(*lines))).findings == ()
    variable = "trace zipkin http://{$NODE_IP}:9411/api/v2/spans {\n every 1000\n }"
    assert check(parse(corefile(variable))).findings == ()


def test_what_some_blocks_lack() -> None:
    report = check(parse(corefile("log", RATE % 100) + corefile("log", key="example.org")))
    assert report.level.number == 1
    assert [one.text for one in report.findings] == [
        "trace stands in some server blocks only: queries for example.org are not seen by it"
    ]


def run(text: str, *options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["check-corefile", *options, "-"], input=text)
    return result.exit_code, result.stdout, result.stderr


def test_the_command() -> None:
    code, out, _ = run(corefile("metadata", FULL))
    assert code == 0
    assert "evidence level 2, dnstap" in out
    assert "by id: client address, port and id" in out
    assert "nothing to find fault with" in out
    assert "level 2" in run(corefile("errors"))[1]


def test_its_exit_codes() -> None:
    assert run(corefile(FULL))[0] == 1
    assert run(corefile("debug"))[0] == 0
    assert run(corefile("debug"), "--strict")[0] == 1
    code, _, said = run(". {\n")
    assert code == 2
    assert "line 1: this block is not closed" in said
    assert run("")[0] == 2


def test_as_json() -> None:
    code, out, _ = run(corefile(FULL), "--json")
    found = json.loads(out)
    assert code == 1
    assert found["level"] == 2
    assert found["findings"][0]["severity"] == "error"
