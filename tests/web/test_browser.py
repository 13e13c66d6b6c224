"""The page in a real Chromium."""

import re
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Route

from tests.web import rows
from tests.web.browser import chromium, tab
from tests.web.conftest import ALL, SHOP, Page

STATIC = "otel_dns/web/static"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def hour(page: Page, **more: str) -> str:
    """Parameters of a view that shows all of the history."""
    return "&".join(f"{key}={value}" for key, value in {**page.hour, **more}.items())


def test_from_the_sentence_to_the_cause(browser: Browser, page: Page) -> None:
    """Overview, finding, its lookups, one of them, its neighbour: each a click on the last."""
    with tab(browser, page.url) as seen:
        seen.open(f"#/?{hour(page)}")
        assert re.search(r"\d finding", seen.text("h1"))
        assert "6 of 6" in seen.text(".coverage")
        seen.page.wait_for_selector(".chart canvas")
        assert seen.page.locator(".chart canvas").count() == 4
        seen.page.click("text=Upstream 192.0.2.54:53 is slow")
        seen.page.wait_for_selector("table.rows tbody tr")
        assert "192.0.2.54:53" in seen.text("#filters")
        seen.page.click("table.rows tbody tr:nth-child(2) .time a")
        seen.page.wait_for_selector(".waterfall")
        assert "connect" in seen.text(".waterfall")
        assert "192.0.2.54:53" in seen.text(".waterfall")
        name = seen.page.url
        seen.page.keyboard.press("[")
        seen.page.wait_for_url(lambda url: url != name)
        seen.page.wait_for_selector(".waterfall")


def test_hostile_names_are_text(browser: Browser, page: Page) -> None:
    """No markup, no script, no control characters, nowhere."""
    with tab(browser, page.url) as seen:
        for name in rows.HOSTILE:
            row = next(row for row in page.rows if row["name"] == name)
            seen.open(f"#/lookup/{row['trace_id']}/{row['span_id']}")
            assert seen.page.locator("main img, main script, main svg").count() == 0
            shown = seen.text("h1")
            assert "\u202e" not in shown
            assert "\x1b" not in shown
            assert shown.startswith(name[:6] if name[0].isascii() else "\\u{202e}gro")
            # The name is long, and the page does not grow sideways.
            assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        seen.open(f"#/lookups?{hour(page, name='onerror')}")
        assert "<img src=x onerror=alert(1)>.example.org" in seen.text("table.rows")
        seen.open("#/lookups?name=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&last=1h")
        assert "<img" in seen.text("#filters")


def test_markup_cannot_be_made(browser: Browser, page: Page) -> None:
    """Even a mistake of ours would be stopped: the policy refuses markup made of text."""
    with tab(browser, page.url) as seen:
        seen.open("#/lookups?last=1h")
        refused = seen.page.evaluate(
            "() => { try { document.body.innerHTML = '<b>x</b>'; return false; }"
            " catch (error) { return error.name; } }"
        )
        assert refused == "TypeError"
        seen.problems.clear()  # which Chromium reports


def test_search_and_keys(browser: Browser, page: Page) -> None:
    with tab(browser, page.url) as seen:
        seen.open(f"#/?{hour(page)}")
        seen.page.keyboard.press("l")
        seen.page.wait_for_selector("#search")
        seen.settled()
        seen.page.keyboard.press("/")
        seen.page.keyboard.type("ns:payments partner >20ms")
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_function("location.hash.includes('min_ms=20')")
        wanted = [
            row for row in page.rows
            if row["namespace"] == "payments" and "partner" in row["name"]
            and row["duration_ns"] >= 20e6
        ]  # fmt: skip
        # The address changes before the view does.
        seen.page.wait_for_selector(f".bar-tools:has-text('{len(wanted)} lookup')")
        seen.settled()
        seen.page.keyboard.press("j")
        seen.page.keyboard.press("j")
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_selector(".waterfall, .lookup")
        seen.page.keyboard.press("b")
        seen.page.wait_for_selector("table.rows")
        seen.page.keyboard.press("?")
        assert "dark or light" in seen.text("dialog")
        seen.page.keyboard.press("Escape")
        seen.page.wait_for_selector("dialog", state="detached")


def test_a_search_that_cannot_be_read_says_so(browser: Browser, page: Page) -> None:
    with tab(browser, page.url) as seen:
        seen.open(f"#/lookups?{hour(page)}")
        seen.page.fill("#search", "colour:red")
        seen.page.press("#search", "Enter")
        assert "there is no “colour”" in seen.text(".search")


@pytest.mark.parametrize(
    ("view", "scheme"),
    [("", "dark"), ("lookups", "light"), ("servers", "dark"), ("pods", "light")],
)
def test_a_phone(browser: Browser, page: Page, view: str, scheme: str) -> None:
    """Nothing is wider than the screen, in either theme, and the text can be read."""
    viewport = {"width": 390, "height": 844}
    with tab(browser, page.url, viewport=viewport, color_scheme=scheme) as seen:
        seen.open(f"#/{view}?{hour(page)}")
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        background = seen.page.evaluate(
            "getComputedStyle(document.documentElement).backgroundColor"
        )
        assert background == {"dark": "rgb(15, 19, 23)", "light": "rgb(255, 255, 255)"}[scheme]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("view", ["", "lookups", "servers", "pods"])
def test_no_column_is_cut_off(browser: Browser, page: Page, view: str, width: int) -> None:
    """However long names are: those of Pods, servers and upstreams come in as the test's do not."""
    cut = """
        for (const at of document.querySelectorAll(".tight td:first-child a, td.pod a, .facets a"))
            at.textContent += "-recommendation-engine-canary-7d4b9c";
        return [document.documentElement, ...document.querySelectorAll(".scroll")]
            .some((at) => at.scrollWidth > at.clientWidth);
    """
    with tab(browser, page.url, viewport={"width": width, "height": 900}) as seen:
        seen.open(f"#/{view}?{hour(page)}")
        assert not seen.page.evaluate(f"() => {{{cut}}}")


def test_candidates_are_told_apart_by_their_ends(browser: Browser, page: Page) -> None:
    """Where there is little room, what all of them begin with is cut."""
    row = next(row for row in page.rows if row["name"] == "api.partner.example")
    names = """() => [...document.querySelectorAll(".line.query b")].map((name) =>
        [name.textContent, ...[...name.children].map((at) => at.scrollWidth > at.clientWidth)])
    """
    with tab(browser, page.url, viewport={"width": 450, "height": 844}) as seen:
        seen.open(f"#/lookup/{row['trace_id']}/{row['span_id']}")
        seen.page.wait_for_selector(".waterfall")
        shown = seen.page.evaluate(names)
    assert len({name for name, *_ in shown}) == 4
    assert any(beginning for _, beginning, _ in shown)
    assert not any(end for *_, end in shown)


@pytest.mark.parametrize("width", [390, 1280])
def test_bars_of_a_waterfall_have_one_scale(browser: Browser, page: Page, width: int) -> None:
    row = max(page.rows, key=lambda row: row["duration_ns"])
    lanes = """() => [...document.querySelectorAll(".waterfall .lane")]
        .map((lane) => lane.getBoundingClientRect()).filter((lane) => lane.width)
        .map((lane) => `${lane.left} ${lane.width}`)"""
    with tab(browser, page.url, viewport={"width": width, "height": 900}) as seen:
        seen.open(f"#/lookup/{row['trace_id']}/{row['span_id']}")
        seen.page.wait_for_selector(".waterfall")
        assert len(set(seen.page.evaluate(lanes))) == 1


def test_notes_are_left_out_where_a_few_letters_fit(browser: Browser, page: Page) -> None:
    row = max(page.rows, key=lambda row: row["duration_ns"])
    shown = """() => [...document.querySelectorAll(".line .more span")]
        .filter((note) => note.offsetTop < note.parentElement.offsetTop + note.offsetHeight / 2)
        .map((note) => note.offsetWidth)"""
    with tab(browser, page.url) as seen:
        seen.open(f"#/lookup/{row['trace_id']}/{row['span_id']}")
        seen.page.wait_for_selector(".waterfall")
        widths = []
        for width in (*range(720, 1100, 20), 1900):
            seen.page.set_viewport_size({"width": width, "height": 900})
            widths.append(seen.page.evaluate(shown))
    assert len(widths[0]) < len(widths[-1])
    assert min(width for each in widths for width in each) >= 30


def test_what_is_not_over_is_no_fall(browser: Browser, page: Page) -> None:
    """A column's rate is of what of it is in the time, and was kept by now."""
    rates = """async ([counts, from, to, end]) => (await import("./static/format.js")).rates(
        { times: [0, 60, 120], step_s: 60, from_s: from, to_s: to }, counts, end ?? Infinity)"""
    with tab(browser, page.url) as seen:
        seen.open(f"#/?{hour(page)}")
        for counts, times, wanted in (
            ([60, 60, 60], [0, 180, None], [1, 1, 1]),
            ([30, 60, 45], [30, 165, None], [1, 1, 1]),
            ([10, 60, 20], [50, 140, None], [None, 1, None]),
            ([60, 60, 40], [0, 180, 160], [1, 1, 1]),
        ):
            assert seen.page.evaluate(rates, [counts, *times]) == wanted


def test_axes_say_what_changes_along_them(browser: Browser, page: Page) -> None:
    marks = (
        """async ([at, length]) => (await import("./static/format.js")).mark(at * 1e6, length)"""
    )
    with tab(browser, page.url, timezone_id="UTC") as seen:
        seen.open(f"#/?{hour(page)}")
        at = 20 * 86_400 + 6 * 3600 + 5
        for length, wanted in (
            (300, "06:00:05"), (3600, "06:00"), (7 * 86_400, "01-21 06:00"), (30 * 86_400, "01-21"),
        ):  # fmt: skip
            assert seen.page.evaluate(marks, [at, length]) == wanted
        assert seen.text(".zone") == "UTC"


def test_a_heat_map_goes_by_keys(browser: Browser, page: Page) -> None:
    with tab(browser, page.url) as seen:
        seen.open(f"#/servers?{hour(page, of='upstream:192.0.2.54:53')}")
        seen.page.focus(".heat canvas")
        seen.page.keyboard.press("ArrowLeft")
        # Down each column, from the last on, to the first cell that has anything in it.
        told = re.compile(r": [1-9]\d*$")
        column = (*["ArrowDown"] * 30, "ArrowLeft", *["ArrowUp"] * 30)
        for way in column * 20:
            if told.search(seen.text(".heat-told")):
                break
            seen.page.keyboard.press(way)
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_selector("table.rows tbody tr")
        assert "192.0.2.54:53" in seen.text("#filters")


def test_parts_that_do_not_come_are_missing_alone(browser: Browser, page: Page) -> None:
    """The list is there before its facets, and without them."""
    with tab(browser, page.url) as seen:
        seen.page.route("**/api/v1/facets?*", lambda _: None)
        seen.open(f"#/lookups?{hour(page)}")
        assert seen.page.locator("table.rows tbody tr").count() == 100
        seen.page.unroute_all()
        seen.page.route(
            "**/api/v1/advice?*", lambda route: route.fulfill(status=503, json={"detail": "busy"})
        )
        seen.open(f"#/pods?{hour(page)}")
        assert seen.page.locator("table.rows tbody tr").count() == 6
        assert "No answer to this part: busy" in seen.text()
        seen.page.route(
            "**/api/v1/state?*", lambda route: route.fulfill(status=503, json={"detail": "busy"})
        )
        seen.open(f"#/?{hour(page)}")
        seen.page.wait_for_selector(".chart canvas")
        assert "Not judged\n\nbusy" in seen.text(".verdict")
        seen.problems.clear()  # Chromium reports the 503


def test_the_tail_shows_lookups_that_lasted_long(browser: Browser, page: Page) -> None:
    """They are written after others that began later."""
    (one,) = page.answer("lookups", **page.hour, limit=1)["lookups"]
    now = time.time()
    later = one | {"span_id": "aa" * 8, "start_us": round((now - 5) * 1e6)}
    lasted = one | {"span_id": "bb" * 8, "start_us": round((now - 45) * 1e6)}
    written = [later]

    def answer(route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        since, until = float(asked["from"][0]) * 1e6, float(asked["to"][0]) * 1e6
        found = [each for each in written if since <= each["start_us"] < until]
        route.fulfill(json={"lookups": found, "total": len(found), "offset": 0})

    with tab(browser, page.url) as seen:
        seen.page.route("**/api/v1/lookups?*", answer)
        seen.open("#/lookups?order=live&last=15m")
        seen.page.wait_for_selector(f"tr[data-id$='{later['span_id']}']")
        written.append(lasted)
        seen.page.wait_for_selector(f"tr[data-id$='{lasted['span_id']}']", timeout=20_000)
        for _ in range(2):
            with seen.page.expect_response("**/api/v1/lookups?*"):
                pass  # asked again, and nothing is there twice
        assert seen.page.locator("table.rows tbody tr").count() == 2


def test_where_there_is_nothing_it_says_what_to_do(browser: Browser, page: Page) -> None:
    with tab(browser, page.url) as seen:
        seen.open(f"#/?from={page.to - 90_000}&to={page.to - 80_000}")
        assert "No lookup arrived in this time" in seen.text(".verdict")
        seen.page.click("text=Show the hour up to it")
        seen.page.wait_for_selector(".chart canvas")
        seen.open(f"#/?{hour(page, pod='nobody')}")
        assert "No lookup of this time matches the filters" in seen.text(".verdict")
        assert "Clear the filters" in seen.text()


def test_who_goes_by_keys_is_where_he_was_when_the_page_is_made_anew(
    browser: Browser, page: Page
) -> None:
    with tab(browser, page.url) as seen:
        seen.page.clock.install()
        seen.open("#/?last=1h")
        link = seen.page.locator(".tight tbody tr:nth-child(3) a")
        name = link.inner_text()
        link.focus()
        seen.page.evaluate("document.activeElement.dataset.old = ''")
        seen.page.clock.fast_forward(20_000)
        seen.page.wait_for_function(
            "name => document.activeElement.textContent === name"
            " && !('old' in document.activeElement.dataset)",
            arg=name,
        )


def test_what_cannot_be_made_anew_is_not_taken_for_now(browser: Browser, page: Page) -> None:
    with tab(browser, page.url) as seen:
        seen.page.clock.install()
        seen.open("#/?last=1h")
        seen.page.route(
            "**/api/v1/state?*", lambda route: route.fulfill(status=503, json={"detail": "busy"})
        )
        seen.page.clock.fast_forward(20_000)
        seen.page.wait_for_selector(".stale")
        assert "as of" in seen.text(".stale")
        assert seen.page.locator(".verdict").count() == 1
        seen.page.unroute_all()
        seen.page.clock.fast_forward(20_000)
        seen.page.wait_for_selector(".stale", state="detached")
        seen.problems.clear()  # Chromium reports the 503


def test_what_is_wrong_with_the_history_is_said(browser: Browser, page: Page) -> None:
    with tab(browser, page.url) as seen:

        def damaged(route: Route) -> None:
            about = page.answer("about")
            route.fulfill(json={**about, "problems": ["x.parquet is left out: <b>no end</b>"]})

        seen.page.route("**/api/v1/about?*", damaged)
        seen.open(f"#/?{hour(page)}")
        assert "x.parquet is left out: <b>no end</b>" in seen.text("#filters")


def test_the_theme_is_kept(browser: Browser, page: Page) -> None:
    with tab(browser, page.url, color_scheme="light") as seen:
        seen.open(f"#/?{hour(page)}")
        seen.page.keyboard.press("t")
        assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"
        seen.page.reload()
        assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_heat_map_and_comparison(browser: Browser, page: Page) -> None:
    with tab(browser, page.url) as seen:
        seen.open(f"#/servers?{hour(page, of='upstream:192.0.2.54:53')}")
        assert seen.page.locator(".heat canvas").count() == 1
        seen.page.select_option("select[aria-label='Compare with']", "upstream:192.0.2.53:53")
        seen.page.wait_for_function("location.hash.includes('versus')")
        seen.page.wait_for_selector(".comparison th:has-text('192.0.2.53:53')")
        assert "\u00d7" in seen.text(".comparison")


def test_advice_can_be_pasted(browser: Browser, page: Page) -> None:
    with tab(browser, page.url) as seen:
        seen.open(f"#/pods?{hour(page)}")
        assert "- name: ndots" in seen.text(".advice-list pre")
        seen.page.click(".copy >> nth=0")
        seen.page.wait_for_function(
            "/cop|selected/.test(document.querySelector('.copy').textContent)"
        )


def test_a_token_is_asked_for_and_its_namespaces_are_said(browser: Browser, guarded: Page) -> None:
    with tab(browser, guarded.url) as seen:
        seen.page.goto(f"{guarded.url}#/lookups?{hour(guarded)}")
        seen.page.wait_for_selector("text=A token is needed")
        seen.page.fill("input[type=password]", SHOP)
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_selector("table.rows tbody tr")
        assert "your namespaces: shop" in seen.text("#filters")
        assert "ledger" not in seen.text("main")
        seen.problems[:] = [each for each in seen.problems if "401" not in each]


def test_a_token_in_the_address_is_taken_and_hidden(browser: Browser, guarded: Page) -> None:
    with tab(browser, guarded.url) as seen:
        seen.page.goto(f"{guarded.url}#token={ALL}")
        seen.page.wait_for_selector(".verdict")
        assert ALL not in seen.page.url
