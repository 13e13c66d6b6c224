"""Runs what docs/investigations.md and docs/jaeger.md ask, on a lab with troubles.

``python -m docs.investigations`` writes the answers and pictures into the pages anew; the tests run
the same questions and look for the same answers, so that the pages cannot go stale.

A block of a page says by its language how to ask, and in which answer it should end::

    ```promql answer=192.0.2.53
    topk(1, ...)
    ```

``sh`` is the command line on the history, ``promql`` Prometheus (and so Grafana), ``jaeger`` the
fields of Jaeger's search form, ``page`` an address of the page, whose picture ``picture=`` names.
The ``text`` block after a question is what it was answered.
"""

import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from docs.ground import Ground, ground

DOCS: Final = Path(__file__).parent
PAGES: Final = (DOCS / "investigations.md", DOCS / "jaeger.md")
_BLOCK: Final = re.compile(
    r"^```(?P<kind>sh|promql|jaeger|page) (?P<options>[^\n]*answer=[^\n]*)\n(?P<text>.*?)^```\n"
    r"(?:\n?```text\n(?P<shown>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Question:
    """One block of a page."""

    kind: str
    text: str
    options: Mapping[str, str]
    shown: str
    """The answer that the page shows; empty: none."""
    span: tuple[int, int] = field(compare=False)
    """Where in the page it stands, its answer included."""

    @property
    def answer(self) -> str:
        """What must be in the answer."""
        return self.options["answer"]


def questions(page: str) -> list[Question]:
    """Find the questions of a page, in order."""
    return [
        Question(
            found["kind"],
            found["text"].strip(),
            dict(option.split("=", 1) for option in shlex.split(found["options"])),
            found["shown"] or "",
            found.span(),
        )
        for found in _BLOCK.finditer(page)
    ]


def filled(page: str, answer: Callable[[Question], str]) -> str:
    """Give a page with its answers anew.

    Args:
        page: the page.
        answer: gives a question's answer; empty where the page shows none (a picture).

    Raises:
        ValueError: an answer is not in what was answered.
    """
    parts, at = [], 0
    for question in questions(page):
        start, end = question.span
        block = page[start:end]
        answered = answer(question)
        if answered:
            if question.answer not in answered:
                raise ValueError(f"no {question.answer} in:\n{question.text}\n{answered}")
            asked = block[: block.index("\n```\n") + len("\n```\n")]
            block = f"{asked}\n```text\n{answered}```\n"
        parts += [page[at:start], block]
        at = end
    return "".join((*parts, page[at:]))


def main() -> None:
    """Make the pages' answers and pictures anew."""
    with tempfile.TemporaryDirectory() as directory, ground(Path(directory)) as made:
        for path in PAGES:
            page = path.read_text()
            path.write_text(filled(page, lambda one: _answer(made, one)))
        _pictures(made)


def _answer(made: Ground, question: Question) -> str:
    return "" if question.kind == "page" else made.ask(question.kind, question.text)


def _pictures(made: Ground) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium: apt-get install chromium")
    wanted = [one for page in PAGES for one in questions(page.read_text()) if one.kind == "page"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for question in wanted:
            tab = browser.new_page(
                viewport={"width": 1200, "height": 760}, color_scheme="light", timezone_id="UTC"
            )
            tab.goto(made.page + question.text)
            tab.wait_for_selector("main:not([aria-busy]) > :not(p.quiet)")
            tab.wait_for_timeout(1000)  # charts are drawn when the browser has laid them out
            tab.screenshot(path=str(DOCS / "images" / f"{question.options['picture']}.png"))
            tab.close()
        browser.close()


if __name__ == "__main__":
    main()
