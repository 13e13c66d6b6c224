"""The command line asks a running page what it asks files, and gets the same."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from otel_dns.cli import main
from otel_dns.cli.remote import TOKEN
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
    period = ["--since", "2h"]
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
