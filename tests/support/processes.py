"""Starts a real program for a test and stops exactly it."""

import contextlib
import os
import random
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.waiting import eventually

_PORTS: Final = range(10_000, 32_000)
"""Below those that Linux gives to whoever asks for any, or connects."""
_given: Final[set[int]] = set()


def free_addresses(count: int) -> list[str]:
    """Addresses on loopback whose ports were free a moment ago, no port given twice."""
    with contextlib.ExitStack() as stack:
        return [f"127.0.0.1:{_free_port(stack)}" for _ in range(count)]


def _free_port(held: contextlib.ExitStack) -> int:
    # At random: another run of the tests may look for ports at this moment.
    chance = random.SystemRandom()
    while True:
        port = chance.choice(_PORTS)
        if port in _given:
            continue
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                held.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
        except OSError:
            continue
        _given.add(port)
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, env: Mapping[str, str], log: Path, ready: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program until the block ends; enters the block when URL ``ready`` answers 2xx."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: _is_ready(process, ready, log), f"{command[0]} ready; see {log}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"ended with {process.returncode}: {log.read_text()[-3000:]}")
    return answers(url)


def answers(url: str) -> bool:
    """Whether a GET of ``url`` is answered 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=20):
            return True
    except (urllib.error.URLError, OSError):
        return False


def runs(pid: int) -> bool:
    """Whether a process is there, and not just a zombie that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}
