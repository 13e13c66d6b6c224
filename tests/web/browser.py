"""A real Chromium, as Debian has it; what the page logs and throws fails the test."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=150_000)
        yield browser
        browser.close()


@dataclass(slots=True)
class Tab:
    """One tab, and what went wrong in it."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def open(self, hash_: str) -> None:
        """Go to a view, and wait until it is there."""
        self.page.goto(self.url + hash_)
        self.settled()

    def settled(self) -> None:
        """Wait until the view is made."""
        self.page.wait_for_selector("main:not([aria-busy]) > :not(p.quiet)")

    def text(self, selector: str = "main") -> str:
        return self.page.locator(selector).first.inner_text()


@contextlib.contextmanager
def tab(browser: Browser, url: str, **options: object) -> Iterator[Tab]:
    """A tab in a context of its own; at the end nothing went wrong in it."""
    context: BrowserContext = browser.new_context(**options)  # type: ignore[arg-type]
    made = Tab(context.new_page(), url)
    made.page.set_default_timeout(90_000)
    made.page.on(
        "console",
        lambda message: (
            made.problems.append(message.text) if message.type in {"error", "warning"} else None
        ),
    )
    made.page.on("pageerror", lambda error: made.problems.append(str(error)))
    made.page.on("dialog", lambda dialog: (made.problems.append("a dialog"), dialog.dismiss()))
    made.page.on(
        "request",
        lambda request: None if request.url.startswith(url) else made.elsewhere.append(request.url),
    )
    try:
        yield made
    finally:
        context.close()
    assert not made.problems
    assert not made.elsewhere, "the page asks nobody else"
