"""The page as a child of the service: killed, back; ended with the service, whatever its end."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from otel_dns.cli import page_address, page_child
from otel_dns.cli.page_child import PageChild, page_of
from otel_dns.service import configuration
from otel_dns.service.configuration.settings import ServeSettings
from tests.support.processes import answers, free_addresses, running, runs
from tests.support.waiting import eventually


def settings(directory: Path, **page: str | None) -> ServeSettings:
    return configuration.convert({"history": {"directory": str(directory)}, "page": page})


def test_killed_it_comes_back_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (address,) = free_addresses(1)
    child = page_of(settings(tmp_path, listen=address), {"http": "127.0.0.1:1"})
    assert child is not None
    child.start()
    try:
        eventually(lambda: answers(f"http://{address}/healthz"), "the page")
        assert list(temporary.iterdir())
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: child.pid not in {None, first}, "another process")
        eventually(lambda: answers(f"http://{address}/healthz"), "the page again")
    finally:
        child.stop()
    assert child.pid is None
    assert not answers(f"http://{address}/healthz")
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("way", ["address", "tokens"])
def test_what_is_in_its_way_is_said_once(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again and again, in silence, without a process; then the page starts."""
    tries: list[int] = []
    listen_at = page_address.listen_at

    def counted(host: str, port: int) -> socket.socket:
        tries.append(port)
        return listen_at(host, port)

    monkeypatch.setattr(page_address, "listen_at", counted)
    monkeypatch.setattr(page_child, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(page_child, "_LONGEST_PAUSE_S", 0.01)
    caplog.set_level(logging.INFO, page_child.__name__)
    (address,) = free_addresses(1)
    host, port = page_address.split(address)
    tokens = tmp_path / "tokens"
    tokens.write_text("short" if way == "tokens" else "a" * 32)
    other = listen_at(host, port) if way == "address" else None
    child = PageChild(["--history", str(tmp_path)], address, str(tokens))
    child.start()
    try:
        eventually(lambda: len(tries) >= 20, "tries")
        assert child.pid is None
        (said,) = caplog.messages
        assert "there is no page" in said
        assert {"address": "--page-listen", "tokens": "--page-token-file"}[way] in said
        tokens.write_text("a" * 32)
        if other is not None:
            other.close()
        eventually(lambda: answers(f"http://{address}/healthz"), "the page")
        assert [each for each in caplog.messages if "the page can start" in each]
    finally:
        child.stop()


STARTER = """
import sys, time
from otel_dns.cli.page_child import PageChild
child = PageChild(sys.argv[2:], sys.argv[1])
child.start()
while child.pid is None:
    time.sleep(0.05)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    (address,) = free_addresses(1)
    command = [sys.executable, "-c", STARTER, address, "--history", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        eventually(lambda: answers(f"http://{address}/healthz"), "the page")
        starter.kill()
    eventually(lambda: not runs(pid), "the page's end")


def test_it_gives_way(tmp_path: Path) -> None:
    """The kernel takes the page first, and gives it less of the processor."""
    (address,) = free_addresses(1)
    child = PageChild(["--history", str(tmp_path)], address)
    child.start()
    try:
        eventually(lambda: answers(f"http://{address}/healthz"), "the page")
        process = Path(f"/proc/{child.pid}")
        assert int((process / "oom_score_adj").read_text()) >= 500
        nice = int((process / "stat").read_text().rpartition(")")[2].split()[16])
        assert nice == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
        limits = (process / "limits").read_text()
        assert "Max address space         unlimited" not in limits
    finally:
        child.stop()


def test_sigterm_is_a_good_end(tmp_path: Path) -> None:
    (address,) = free_addresses(1)
    command = [sys.executable, "-m", "otel_dns", "page", "--history", tmp_path, "--listen", address]
    ready = f"http://{address}/healthz"
    with running(command, env={}, log=tmp_path / "page.log", ready=ready) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0


def test_without_a_history_there_is_no_page(tmp_path: Path) -> None:
    assert page_of(configuration.convert({}), {"http": "127.0.0.1:1"}) is None
    assert page_of(settings(tmp_path, listen=None), {"http": "127.0.0.1:1"}) is None
    nothing = {"history": {"directory": str(tmp_path), "keep": False}}
    assert page_of(configuration.convert(nothing), {"http": "127.0.0.1:1"}) is None


def test_beyond_loopback_the_service_wants_tokens(tmp_path: Path) -> None:
    with pytest.raises(configuration.ConfigurationError, match=r"page\.token_file"):
        settings(tmp_path, listen="0.0.0.0:8053")
    assert settings(tmp_path, listen="0.0.0.0:8053", token_file="t").page.token_file == "t"
