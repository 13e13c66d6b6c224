"""Whole rows over HTTP: who stops reading is cut off, and does not keep others from it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from otel_dns.history.history import History
from otel_dns.web import export, questions
from tests.web import rows

END_NS = 1_800_000_000 * 10**9


@contextlib.contextmanager
def page(directory: Path, patience_s: float) -> Iterator[FastAPI]:
    """The questions of a page, asked without a network."""
    rows.write(directory, END_NS, 300)
    app = FastAPI()
    app.include_router(questions.router)
    app.state.tokens = None
    app.state.exports = export.Exports(patience_s)
    with History(directory) as app.state.history:
        yield app


async def ask(
    app: Any, send: Callable[[dict[str, Any]], Awaitable[None]], abort: Callable[[], None]
) -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/api/v1/rows", "raw_path": b"/api/v1/rows", "root_path": "",
        "query_string": b"", "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2), "extensions": {export.ABORT: abort},
    }  # fmt: skip
    await app(scope, receive, send)


class Reader:
    """Takes all of an answer, or stops with its first rows."""

    def __init__(self, *, stops: bool = False) -> None:
        self.seen: list[dict[str, Any]] = []
        self.stuck = asyncio.Event()
        self.aborted = 0
        self._stops = stops

    async def ask(self, app: Any) -> None:
        await ask(app, self._take, self._abort)

    async def _take(self, message: dict[str, Any]) -> None:
        self.seen.append(message)
        if self._stops and message.get("body"):
            self.stuck.set()
            await asyncio.Event().wait()

    def _abort(self) -> None:
        self.aborted += 1


def test_who_stops_reading_is_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stops, reads = Reader(stops=True), Reader()

    async def both(app: FastAPI) -> None:
        await stops.ask(app)
        await reads.ask(app)

    with page(tmp_path, 0.05) as app, caplog.at_level(logging.WARNING, export.__name__):
        asyncio.run(both(app))
    assert stops.aborted == 1
    (said,) = caplog.messages
    assert "cut off so far: 1" in said
    assert reads.seen[0]["status"] == 200
    bodies = [message["body"] for message in reads.seen[1:]]
    assert sum(map(len, bodies)) > max(map(len, bodies)) <= export.PIECE
    assert reads.seen[-1]["more_body"] is False


def test_others_hear_when_they_may_ask_again(tmp_path: Path) -> None:
    stops, other = Reader(stops=True), Reader()

    async def both(app: FastAPI) -> None:
        asking = asyncio.create_task(stops.ask(app))
        await stops.stuck.wait()
        await other.ask(app)
        asking.cancel()

    with page(tmp_path, 3600) as app:
        asyncio.run(both(app))
    refused, why = other.seen
    assert refused["status"] == 503
    assert dict(refused["headers"])[b"retry-after"] == b"3600"
    assert b"another export runs" in why["body"]
