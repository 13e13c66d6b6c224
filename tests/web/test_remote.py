"""The command line asks a running page what it asks files, and gets the same."""

import contextlib
import datetime
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from otel_dns.cli import main
from otel_dns.cli.remote import TOKEN
from tests.support.waiting import eventually
from tests.web.conftest import ALL, SHOP, Page

COMMANDS = [
    ["slow", "--failed", "--json"],
    ["slow", "--namespace", "shop", "--name", "*.example*", "--min", "5ms"],
    ["top", "--by", "name", "--order", "p95_ns", "--json"],
    ["report", "--json"],
    [
        "query",
        "SELECT pod, count(*) AS n, min(start) AS first FROM lookups GROUP BY pod ORDER BY pod",
        "--json",
    ],
    ["watch", "*.partner.example", "--json"],
    ["export", "--failed"],
]


def _run(place: str, *arguments: str, token: str = "") -> tuple[int, str, str]:
    done = CliRunner().invoke(main, [*arguments, "--history", place], env={TOKEN: token})
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_page_answers_what_its_files_do(
    page: Page, history: tuple[Path, list[dict[str, str]], int], command: list[str]
) -> None:
    # Not until now, which is another time when the second is asked.
    times = (datetime.datetime.fromtimestamp(history[2] + off, datetime.UTC) for off in (-7200, 60))
    period = [
        f"--{which}={time:%Y-%m-%dT%H:%M:%S}"
        for which, time in zip(("since", "until"), times, strict=True)
    ]
    here, there = (_run(place, *command, *period) for place in (str(history[0]), page.url))
    assert here[0] in {0, 3}
    assert here[1]
    assert there == here


def test_one_lookup_and_a_file_of_all(page: Page, tmp_path: Path) -> None:
    _, latest, _ = _run(page.url, "show", "last", "--json")
    assert json.loads(latest)[0]["hops"]
    file = tmp_path / "all.parquet"
    _run(page.url, "export", "--format", "parquet", "-o", str(file))
    assert pq.read_metadata(file).num_rows == len(page.rows)


def test_a_token_is_wanted_and_its_namespaces_hold(guarded: Page) -> None:
    refused = _run(guarded.url, "slow")
    assert refused[0] == 1
    assert "OTEL_DNS_TOKEN" in refused[2]
    for token, namespaces in ((ALL, {"shop", "payments", "batch"}), (SHOP, {"shop"})):
        _, groups, _ = _run(guarded.url, "top", "--by", "namespace", "--json", "--since", "2h",
                            token=token)  # fmt: skip
        assert {group["key"] for group in json.loads(groups)} == namespaces
    for command in (["query", "FROM lookups"], ["export"]):
        assert "bound to namespaces" in _run(guarded.url, *command, token=SHOP)[2]


@pytest.mark.parametrize(
    ("question", "arguments", "status", "says"),
    [
        ("nonsense", "{}", 404, "no such question"),
        ("ask", "{}", 404, "no such question"),
        ("by", '{"dimension": "hops"}', 422, "no dimension"),
        ("by", '{"dimension": 7}', 422, "str"),
        ("slowest", '{"nonsense": 1}', 422, "arguments"),
        ("slowest", "nonsense", 422, "JSON"),
    ],
)
def test_what_cannot_be_asked(
    page: Page, question: str, arguments: str, status: int, says: str
) -> None:
    response = page.get(f"questions/{question}", arguments=arguments)
    assert response.status_code == status
    assert says in response.text


def test_nobody_or_another_there(page: Page) -> None:
    code, _, says = _run("http://127.0.0.1:1", "slow")
    assert code == 1
    assert "no answer from http://127.0.0.1:1" in says
    assert "is it a page's address" in _run(f"{page.url}static/", "slow")[2]


@contextlib.contextmanager
def _answering(answer: bytes, seen: list[str | None]) -> Iterator[str]:
    """A server that gives this answer, and notes what it was shown as a token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("command", [["slow"], ["query", "FROM lookups"], ["export"]], ids=" ".join)
@pytest.mark.parametrize(
    "answer",
    [
        b"\0\0\x12\4\0\0\0\0\0",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n[",
    ],
    ids=["gRPC", "HTML", "cut off"],
)
def test_what_answers_is_no_page(answer: bytes, command: list[str]) -> None:
    with _answering(answer, []) as url:
        code, _, error = _run(url, *command)
    assert code == 1
    assert f"no answer from {url}" in error or f"{url} does not answer as a page" in error


@pytest.mark.parametrize("place", ["http://localhost:abc", "http://"])
def test_no_address(place: str) -> None:
    code, _, error = _run(place, "slow")
    assert code == 1
    assert "no answer from http" in error


def test_a_token_goes_nowhere_else() -> None:
    shown: list[str | None] = []
    refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    with _answering(refusal, shown) as elsewhere:
        head = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}/api/v1/\r\nContent-Length: 0\r\n\r\n"
        with _answering(head.encode(), shown) as url:
            _, _, error = _run(url, "slow", token=f"{ALL}\n")
    assert shown == [f"Bearer {ALL}", None]
    assert elsewhere in error


@pytest.mark.parametrize(("path", "more"), [("rows", {}), ("sql", {"query": "FROM lookups"})])
def test_a_filter_that_is_no_json(page: Page, path: str, more: dict[str, str]) -> None:
    assert page.get(path, where="{", **more).status_code == 422


def test_who_leaves_an_export_early_ends_it(page: Page) -> None:
    address = httpx.URL(page.url)
    for _ in range(5):
        with socket.create_connection((address.host, address.port or 80)) as gone:
            gone.sendall(f"GET /api/v1/rows HTTP/1.1\r\nHost: {address.host}\r\n\r\n".encode())
    eventually(lambda: page.get("rows").status_code == 200, "another export")
