"""Ctrl-C in the middle of a question."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.history.support import keep, searched
from tests.support.spans import SECOND

INTERRUPTED: Final = """
import os, signal, threading
from otel_dns.__main__ import main
from otel_dns.history.history import History

asked = History.sql

def sql(*arguments):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    return asked(*arguments)

History.sql = sql
main()
"""


@pytest.mark.parametrize(
    "never_ends",
    [
        "SELECT count(*) FROM range(10000000000) a, range(100000) b",  # DuckDB hears it
        "SELECT sum(a.range * b.range) FROM range(1000000) a, range(100000) b",  # and not here
    ],
)
def test_it_ends_a_query(tmp_path: Path, never_ends: str) -> None:
    keep(tmp_path, *(searched(n * SECOND) for n in range(2)))
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "query", never_ends, "--history", tmp_path],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "interrupted")


LOST: Final = """
import signal, time
from otel_dns.__main__ import main
from otel_dns.history.history import History

class Taken:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def sql(*_):
    taken = Taken()
    del taken
    while True:
        time.sleep(1)

History.sql = sql
main()
"""


def test_it_is_not_lost_where_an_object_is_taken_down(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST, "query", "SELECT 1", "--history", tmp_path],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "interrupted")
