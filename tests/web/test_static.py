"""What the page is made of: its own modules, one vendored library, no markup made of text."""

import re
from pathlib import Path

import pytest

from otel_dns.web.app import STATIC

OWN = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser"
    r"|\beval\(|new Function|setAttribute\(.style|srcdoc|javascript:"
)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_markup_of_text(path: Path) -> None:
    found = [line for line in path.read_text().splitlines() if FORBIDDEN.search(line)]
    assert not found


def test_nothing_from_elsewhere() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"https?://|//[a-z]", page)
    assert "<script>" not in page
    assert "style=" not in page
    for path in OWN:
        for source in re.findall(r"^import .* from \"(.*)\"", path.read_text(), re.MULTILINE):
            assert (path.parent / source).is_file()


def test_the_vendored_library_says_what_it_is() -> None:
    vendor = STATIC / "vendor" / "uplot"
    version = re.search(r"uPlot (\d+\.\d+\.\d+)", (vendor / "README.md").read_text())
    assert version is not None
    assert f"v{version[1]}" in (vendor / "uPlot.iife.min.js").read_text()[:200]
    assert "MIT License" in (vendor / "LICENSE").read_text()
