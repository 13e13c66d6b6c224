"""docs/investigations.md and docs/jaeger.md, asked again on real programs."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from docs.ground import Ground, ground
from docs.investigations import PAGES, Question, questions
from otel_dns import semconv
from otel_dns.lab import available
from tests.support.programs import require
from tests.web.browser import chromium, tab

ASKED = [
    pytest.param(question, id=f"{page.stem}-{question.kind}-{number}")
    for page in PAGES
    for number, question in enumerate(questions(page.read_text()))
]
LAST = "last=15m"
TAIL = "tail.slow.example"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    for program in ("coredns", "jaeger", "prometheus"):
        require(program)
    with ground(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize("question", [each for each in ASKED if each.values[0].kind != "page"])
def test_a_question_of_the_pages_still_has_its_answer(made: Ground, question: Question) -> None:
    assert question.answer in question.shown, "run python -m docs.investigations"
    answered = made.ask(question.kind, question.text)
    assert question.answer in answered
    if question.kind == "jaeger":
        found, shown = (int(each.split()[0]) for each in (answered, question.shown))
        assert found > 0
        # How many fall on either side of a latency class, and what took longest, is the machine's.
        of_the_machine = f"{semconv.LATENCY_CLASS}|{semconv.PLUGIN}|{semconv.BOTTLENECK}"
        if not re.search(of_the_machine, question.text):
            assert found == shown


@pytest.mark.parametrize("question", [each for each in ASKED if each.values[0].kind == "page"])
def test_a_view_of_the_walk_still_shows_it(
    made: Ground, browser: Browser, question: Question
) -> None:
    with tab(browser, made.page) as seen:
        seen.open(question.text)
        assert question.answer in seen.text()


def test_every_search_key_is_searched_from_both_sides() -> None:
    """Documented, and so run above: each key on lookup spans and on servedns."""
    searched: dict[bool, set[str]] = {True: set(), False: set()}
    for page in PAGES:
        for question in questions(page.read_text()):
            if question.kind == "jaeger":
                keys = set(re.findall(r"([\w.]+)=", question.text))
                searched["Service: coredns" in question.text] |= keys
    wanted = {
        semconv.SEARCH_POD, semconv.SEARCH_NAMESPACE, semconv.SEARCH_NODE,
        semconv.DNS_QUESTION_NAME, semconv.BOTTLENECK, semconv.PLUGIN, semconv.LOOKUP_OUTCOME,
        semconv.JOIN_METHOD, semconv.LATENCY_CLASS, semconv.SERVER_INSTANCE,
    }  # fmt: skip
    assert [wanted - keys for keys in searched.values()] == [set(), set()]


def test_the_link_to_jaeger_shows_the_trace_there(made: Ground, browser: Browser) -> None:
    """From a lookup on the page, by a click, to the same trace on Jaeger's own page."""
    with tab(browser, made.page) as seen:
        seen.open(f"#/lookups?{LAST}&bottleneck=upstream")
        seen.page.click("table.rows tbody tr:first-child .time a")
        seen.page.wait_for_selector(".waterfall")
        with seen.page.expect_popup() as opened:
            seen.page.click("text=trace in Jaeger")
        opened.value.wait_for_load_state()
        *_, trace_id = opened.value.url.rpartition("/trace/")
        assert trace_id in seen.page.url
        # The lab's Jaeger is built without its page's assets: what it would show is asked for.
        operations = {span["operationName"] for span in made.trace(trace_id)["spans"]}
        assert {semconv.LOOKUP_SPAN, semconv.SERVEDNS_SPAN, semconv.CONNECT_SPAN} <= operations


@pytest.mark.parametrize(
    "metric",
    ["otel_dns_lookup_duration_seconds_bucket", "otel_dns_plugin_duration_seconds_bucket"],
)
def test_an_exemplar_leads_to_its_lookup_in_jaeger(made: Ground, metric: str) -> None:
    """By the label and the way of dashboards/grafana/datasources.yaml."""
    trace_ids = made.exemplars(metric)
    assert trace_ids
    spans = made.trace(min(trace_ids))["spans"]
    assert semconv.LOOKUP_SPAN in {span["operationName"] for span in spans}


def test_the_live_tail_shows_what_comes(made: Ground, browser: Browser) -> None:
    """A lookup made while somebody looks appears at the top, without a click."""
    with tab(browser, made.page) as seen:
        seen.open(f"#/lookups?{LAST}&order=live")
        pod = made.troubles.applications[0].pod
        assert not seen.page.locator(f"text={TAIL}").count()
        made.look_up(pod, TAIL)
        seen.page.wait_for_selector(f"table.rows tbody tr:first-child:has-text('{TAIL}')")
        assert seen.page.locator("table.rows tbody tr").count() > 1


def test_search_waste_is_what_the_names_cost(made: Ground) -> None:
    """In figures: db takes 2 queries, the external names 8 with 6 of them waste."""
    ask = "sum(otel_dns_search_wasted_queries_total{k8s_namespace_name='shop'}) / sum(%s)"
    told = made.query(ask % "otel_dns_pod_queries_total{k8s_namespace_name='shop'}")
    assert float(told.split()[-1]) == pytest.approx(12 / 18, abs=0.05)
    (pod,) = json.loads(
        made.command_line(
            "otel-dns top --since 15m --by namespace --namespace billing --once --json"
        )
    )
    assert pod["waste_queries"] < pod["queries"] / 2
