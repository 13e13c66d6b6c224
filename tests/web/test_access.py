"""Who may see what: loopback, tokens, namespaces; headers that hold for every answer."""

import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from otel_dns.cli import main
from otel_dns.web.access import Tokens, TokensError
from tests.web import rows
from tests.web.conftest import ALL, SHOP, Page

QUESTIONS = [
    "about", "state", "overview", "lookups", "facets", "servers", "pods", "advice", "live",
]  # fmt: skip


@pytest.mark.parametrize("path", QUESTIONS)
def test_without_a_token_nothing(guarded: Page, path: str) -> None:
    for token in ("", "c" * 32, ALL[:-1]):
        response = guarded.get(path, token, **guarded.hour)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    assert guarded.get(path, ALL, **guarded.hour).status_code == 200


def test_every_question_is_asked_here(guarded: Page) -> None:
    paths = httpx.get(f"{guarded.url}api/openapi.json", timeout=60).json()["paths"]
    asked = {*QUESTIONS, "latency", "comparison", "lookups/{trace_id}/{span_id}"}
    asked |= {"questions/{question}", "sql", "rows"}  # tests/web/test_remote.py
    assert {path.removeprefix("/api/v1/") for path in paths} == asked


@pytest.mark.parametrize("path", QUESTIONS)
def test_a_bound_token_sees_its_namespaces_only(guarded: Page, path: str) -> None:
    others = [row for row in guarded.rows if row["namespace"] != "shop"]
    secrets = {row[key] for row in others for key in ("namespace", "pod", "service", "client")}
    variants = [{}, {"namespace": "payments"}, {"pod": rows.PODS[3][1]}]
    for variant in variants:
        text = json.dumps(
            guarded.answer(path, SHOP, limit=500, order="newest", **variant)
            if path == "lookups"
            else guarded.answer(path, SHOP, **variant)
        )
        seen = {secret for secret in secrets if secret in text and secret != "payments"}
        # A filter's own value is not given back either, and "payments.shop" is shop's own lookup.
        assert not seen
    if path == "about":
        assert guarded.answer(path, SHOP)["lookups"] == len(guarded.rows) - len(others)


def test_a_bound_token_counts_its_own(guarded: Page) -> None:
    mine = [row for row in guarded.rows if row["namespace"] == "shop"]
    assert sum(guarded.answer("overview", SHOP)["lookups"]) == len(mine)
    assert guarded.answer("state", SHOP)["totals"]["lookups"] == len(mine)
    exchanges = sum(one["upstream"] == "192.0.2.53:53" for row in mine for one in row["exchanges"])
    subject = "upstream:192.0.2.53:53"
    assert sum(map(sum, guarded.answer("latency", SHOP, of=subject)["counts"])) == exchanges
    assert guarded.answer("comparison", SHOP, of=subject)["a"]["queries"] == exchanges


def test_a_bound_token_opens_no_other_lookup(guarded: Page) -> None:
    other = next(row for row in guarded.rows if row["namespace"] == "payments")
    path = f"lookups/{other['trace_id']}/{other['span_id']}"
    assert guarded.get(path, ALL).status_code == 200
    assert guarded.get(path, SHOP).status_code == 404


def test_answers_are_kept_apart(guarded: Page) -> None:
    """What was answered to one is not given to another who asks the same."""
    everything = guarded.answer("overview", ALL)
    assert sum(guarded.answer("overview", SHOP)["lookups"]) < sum(everything["lookups"])


def test_the_page_itself_needs_no_token(guarded: Page) -> None:
    assert httpx.get(guarded.url, timeout=60).status_code == 200


def test_headers(page: Page) -> None:
    for path in ("", "static/app.js", "api/v1/about", "nothing"):
        headers = httpx.get(page.url + path, timeout=60).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(page: Page, method: str) -> None:
    assert httpx.request(method, f"{page.url}api/v1/about", timeout=60).status_code == 405


def test_another_name_for_this_machine_is_refused(page: Page) -> None:
    """DNS rebinding: a web site's own name that leads here."""
    for host in ("evil.example", "evil.example:8053", "127.0.0.1.evil.example", ""):
        answer = httpx.get(f"{page.url}api/v1/about", headers={"Host": host}, timeout=60)
        assert answer.status_code in {400, 421}, host
    for host in ("localhost", "localhost:8001", "127.0.0.1", "[::1]:80"):
        assert (
            httpx.get(f"{page.url}api/v1/about", headers={"Host": host}, timeout=60).status_code
            == 200
        )


def test_no_file_but_the_page_s_own(page: Page) -> None:
    for path in (
        "static/../app.py",
        "static/..%2fapp.py",
        "static//etc/passwd",
        "static/%2e%2e/api.py",
    ):
        assert httpx.get(page.url + path, timeout=60).status_code == 404


def test_beyond_loopback_a_token_is_needed(tmp_path: Path) -> None:
    for listen in ("0.0.0.0:0", "[::]:0", "192.0.2.1:80"):
        result = CliRunner().invoke(main, ["page", "--history", str(tmp_path), "--listen", listen])
        assert result.exit_code == 2
        assert "--token-file" in result.output


TOKENS = [("", "no token"), ("short", "line 1"), ("# nothing\n", "no token"), (None, "cannot read")]


@pytest.mark.parametrize(("text", "said"), TOKENS)
def test_files_of_tokens_that_cannot_be_used(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "tokens"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TokensError, match=said):
        Tokens.read(path)


def test_namespaces_of_a_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{ALL}\n\n  {SHOP} shop,payments batch\n")
    tokens = Tokens.read(path)
    everything, bound = tokens.scope_of(ALL), tokens.scope_of(SHOP)
    assert everything is not None
    assert everything.everything
    assert bound is not None
    assert bound.namespaces == {"shop", "payments", "batch"}
    assert tokens.scope_of("") is None
