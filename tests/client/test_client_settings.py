import contextlib
import os
import socket
import sys
import threading
from typing import Any

import pytest
from opentelemetry.trace import Span

import otel_dns.client
from otel_dns import semconv
from otel_dns.client.details import Lookup, Outcome
from otel_dns.client.settings import Settings, exclusion
from tests.client.support import Telemetry

BARE = socket.getaddrinfo
MISSING = "no such host"


def names(telemetry: Telemetry) -> list[object]:
    return [(span.attributes or {})[semconv.DNS_QUESTION_NAME] for span in telemetry.spans()]


def measured(telemetry: Telemetry) -> set[object]:
    points = telemetry.points(semconv.DNS_LOOKUP_DURATION)
    return {point.attributes[semconv.DNS_QUESTION_NAME] for point in points}


def look_up(*names: str) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            socket.getaddrinfo(name, 80)


def test_require_parent(telemetry: Telemetry) -> None:
    otel_dns.client.instrument(**telemetry.options, require_parent=True)
    look_up("localhost")
    assert not telemetry.spans()
    assert measured(telemetry) == {"localhost"}
    with telemetry.tracer_provider.get_tracer("app").start_as_current_span("work"):
        look_up("localhost")
    assert [span.name for span in telemetry.spans()] == [semconv.LOOKUP_SPAN, "work"]


def test_names_left_out(telemetry: Telemetry) -> None:
    excluded = ["LocalHost", ".such host"]
    otel_dns.client.instrument(**telemetry.options, excluded_names=excluded)
    look_up("localhost", "localhost.", "a.such host", "no such host")
    assert names(telemetry) == ["no such host"]
    assert measured(telemetry) == {"no such host"}


@pytest.mark.parametrize(
    ("given", "name", "left_out"),
    [
        (["db"], "db", True),
        (["db"], "DB.", True),
        (["db"], "mydb", False),
        (["db"], "db.shop", False),
        ([".shop"], "db.shop", True),
        ([".Shop."], "DB.SHOP", True),
        ([".shop"], "shop", False),
        ([".shop"], "workshop", False),
        ([" db ", ""], "db", True),
    ],
)
def test_exclusion(given: list[str], name: str, left_out: bool) -> None:
    excluded = exclusion(given)
    assert excluded is not None
    assert excluded(name) is left_out


@pytest.mark.parametrize("by", ["argument", "environment"])
@pytest.mark.parametrize(
    ("show", "expected"),
    [
        ("name", {"localhost", "a.b.co.uk.", "b.co.uk", "x.pods.cluster.local"}),
        ("domain", {"localhost", "b.co.uk", "cluster.local"}),
        ("none", {None}),
    ],
)
def test_what_the_metric_shows_of_names(
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
    show: str,
    expected: set[object],
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [])
    if by == "environment":
        monkeypatch.setenv("OTEL_DNS_CLIENT_METRIC_NAMES", show)
        otel_dns.client.instrument(**telemetry.options)
    else:
        otel_dns.client.instrument(**telemetry.options, metric_names=show)
    # Twice: the first measurement of each goes another way than the next.
    for _ in range(2):
        look_up("localhost", "a.b.co.uk.", "b.co.uk", "x.pods.cluster.local")
    points = telemetry.points(semconv.DNS_LOOKUP_DURATION)
    assert {point.attributes.get(semconv.DNS_QUESTION_NAME) for point in points} == expected
    assert sum(point.count for point in points) == 8


def test_without_the_list_of_domains_no_names_are_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    reduce = Settings.read({"metric_names": "domain"}, {}).metric_names
    assert reduce is not None
    assert reduce("a.example") is None
    assert "otel-dns[domains]" in caplog.text


def test_a_word_that_says_nothing_of_names(caplog: pytest.LogCaptureFixture) -> None:
    read = Settings.read({}, {"OTEL_DNS_CLIENT_METRIC_NAMES": "domains"})
    assert read.metric_names is None
    assert "OTEL_DNS_CLIENT_METRIC_NAMES" in caplog.text
    with pytest.raises(ValueError, match="'domains' is none of"):
        Settings.read({"metric_names": "domains"}, {})


def test_nothing_left_out() -> None:
    assert exclusion([]) is None
    assert exclusion(["", " "]) is None


def test_hooks(telemetry: Telemetry) -> None:
    seen: list[Any] = []

    def before(span: Span, lookup: Lookup) -> None:
        seen.append(lookup)
        span.set_attribute("before", lookup.name)

    def after(span: Span, lookup: Lookup, outcome: Outcome) -> None:
        seen.append(outcome)
        assert span.is_recording()
        span.set_attribute("after", outcome.error_type or len(outcome.answers))

    otel_dns.client.instrument(**telemetry.options, request_hook=before, response_hook=after)
    look_up("localhost", MISSING)
    good, bad = (dict(span.attributes or {}) for span in telemetry.spans())
    assert (good["before"], good["after"]) == ("localhost", len(good[semconv.DNS_ANSWERS]))
    assert (bad["before"], bad["after"]) == (MISSING, "host_not_found")
    assert [type(item) for item in seen] == [Lookup, Outcome, Lookup, Outcome]


def test_hooks_that_raise(telemetry: Telemetry) -> None:
    def fail(*_: object) -> None:
        raise ValueError("broken hook")

    otel_dns.client.instrument(**telemetry.options, request_hook=fail, response_hook=fail)
    assert socket.getaddrinfo("localhost", 80) == BARE("localhost", 80)
    with pytest.raises(socket.gaierror) as raised:
        socket.getaddrinfo(MISSING, 80)
    assert raised.value.__context__ is None
    assert names(telemetry) == ["localhost", MISSING]
    assert semconv.DNS_ANSWERS in (telemetry.spans()[0].attributes or {})
    (point,) = telemetry.points(semconv.CLIENT_FAILURES)
    assert (point.value, dict(point.attributes)) == (4, {semconv.ERROR_TYPE: "ValueError"})
    assert measured(telemetry) == {"localhost", MISSING}


def test_hooks_that_look_names_up(telemetry: Telemetry) -> None:
    def look(*_: object) -> None:
        look_up("localhost")

    otel_dns.client.instrument(**telemetry.options, request_hook=look, response_hook=look)
    look_up(MISSING)
    assert names(telemetry) == [MISSING]


@pytest.mark.parametrize(
    ("environ", "options", "field", "value"),
    [
        ({}, {}, "require_parent", False),
        ({"REQUIRE_PARENT": "True"}, {}, "require_parent", True),
        ({"REQUIRE_PARENT": " 0 "}, {}, "require_parent", False),
        ({"REQUIRE_PARENT": "true"}, {"require_parent": False}, "require_parent", False),
        ({"FAST_PATH": "false"}, {}, "fast_path", False),
        ({}, {}, "fast_path", True),
        ({"MAX_METRIC_NAMES": "7"}, {}, "max_metric_names", 7),
        ({"MAX_METRIC_NAMES": "7"}, {"max_metric_names": 0}, "max_metric_names", 0),
        ({"EXCLUDED_NAMES": " , "}, {}, "excluded", None),
    ],
)
def test_arguments_and_environment(
    environ: dict[str, str], options: dict[str, Any], field: str, value: object
) -> None:
    variables = {f"OTEL_DNS_CLIENT_{name}": text for name, text in environ.items()}
    assert getattr(Settings.read(options, variables), field) == value


def test_names_left_out_by_environment(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_DNS_CLIENT_EXCLUDED_NAMES", "localhost, .such host")
    otel_dns.client.instrument(**telemetry.options)
    look_up("localhost", "a.such host", MISSING)
    assert names(telemetry) == [MISSING]


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("OTEL_DNS_CLIENT_REQUIRE_PARENT", "true or false"),
        ("OTEL_DNS_CLIENT_MAX_METRIC_NAMES", "a whole number"),
        ("OTEL_DNS_CLIENT_METRIC_NAMES", "'name', 'domain' and 'none'"),
        ("OTEL_DNS_CLIENT_MARKS", "case"),
    ],
)
def test_nonsense_is_said_once_and_passed_over(
    variable: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):  # as each instrumentation does
        assert Settings.read({}, {variable: "perhaps"}) == Settings()
    (record,) = caplog.records
    assert f"{variable}='perhaps'" in record.getMessage()
    assert said in record.getMessage()


# -- lookups in flight ------------------------------------------------------------------------


class Held:
    """Holds lookups up, to see them in flight: nothing real is slow at command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.release = threading.Semaphore(0), threading.Event()
        monkeypatch.setattr("socket._socket.getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, *args: Any) -> Any:
        self.asked.release()
        self.release.wait(60)
        return []


def active(telemetry: Telemetry) -> int:
    (point,) = telemetry.points(semconv.CLIENT_ACTIVE_LOOKUPS)
    value: int = point.value
    return value


def test_lookups_in_flight(recorded: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up("localhost", MISSING)
    assert active(recorded) == 0
    held = Held(monkeypatch)
    threads = [threading.Thread(target=look_up, args=("localhost",)) for _ in range(3)]
    for thread in threads:
        thread.start()
        held.asked.acquire(timeout=60)
    assert active(recorded) == 3
    held.release.set()
    for thread in threads:
        thread.join()
    assert active(recorded) == 0


def test_a_forked_child_counts_its_own(
    recorded: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    thread = threading.Thread(target=look_up, args=("localhost",))
    thread.start()
    held.asked.acquire(timeout=60)
    child = os.fork()
    if child == 0:
        os._exit(active(recorded))
    held.release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
