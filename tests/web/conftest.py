"""A page on an hour of made-up lookups, run as users run it."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import free_addresses, running
from tests.web import rows

ALL = "a" * 32
SHOP = "b" * 32


@dataclass(frozen=True, slots=True)
class Page:
    """A running page."""

    url: str
    rows: list[dict[str, Any]]
    to: int
    """Seconds: just after the last lookup."""

    @property
    def hour(self) -> dict[str, int]:
        """All of it, as parameters."""
        return {"from": self.to - 3600, "to": self.to}

    def get(self, path: str, token: str = "", **parameters: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"{self.url}api/v1/{path}", params=parameters, headers=headers, timeout=60)

    def answer(self, path: str, token: str = "", **parameters: Any) -> Any:
        response = self.get(path, token, **{**self.hour, **parameters})
        assert response.status_code == 200, response.text
        return response.json()


def serve_page(directory: Path, history: Path, *arguments: str) -> Any:
    """A running ``otel-dns page``, as a context manager, and its address."""
    (address,) = free_addresses(1)
    command = [sys.executable, "-m", "otel_dns", "page", "--history", str(history)]
    return f"http://{address}/", running(
        [*command, "--listen", address, *arguments],
        env={},
        log=directory / "page.log",
        ready=f"http://{address}/healthz",
    )


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], int]:
    directory = tmp_path_factory.mktemp("history")
    to = int(time.time())
    return directory, rows.write(directory, to * 10**9, 1200), to


@pytest.fixture(scope="session")
def page(
    history: tuple[Path, list[dict[str, Any]], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """For whoever is on this machine."""
    url, process = serve_page(tmp_path_factory.mktemp("page"), history[0])
    with process:
        yield Page(url, *history[1:])


@pytest.fixture(scope="session")
def guarded(
    history: tuple[Path, list[dict[str, Any]], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """With tokens: one for everything, one for namespace ``shop``."""
    directory = tmp_path_factory.mktemp("guarded")
    tokens = directory / "tokens"
    tokens.write_text(f"# everything\n{ALL}\n{SHOP}  shop\n")
    url, process = serve_page(directory, history[0], "--token-file", str(tokens))
    with process:
        yield Page(url, *history[1:])
