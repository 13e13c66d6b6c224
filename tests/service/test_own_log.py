"""What `otel-dns serve` says of itself, as a program."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otel_dns.service import own_log
from tests.support.processes import answers, free_addresses
from tests.support.waiting import eventually


def said(tmp_path: Path, **variables: str) -> list[str]:
    """All lines of a processor and its page that started, and ended on SIGTERM."""
    otlp, http, page = free_addresses(3)
    log = tmp_path / "log"
    with log.open("w") as standard_error:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "otel_dns", "serve", "--history", tmp_path / "history"),
                *("--otlp-listen", otlp, "--http-listen", http, "--page-listen", page),
            ],
            stderr=standard_error,
            env={**os.environ, **variables},
        )
        try:
            eventually(lambda: answers(f"http://{http}/readyz"), "the processor")
            eventually(lambda: answers(f"http://{page}/healthz"), "the page")
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
        finally:
            process.kill()
            process.wait()
    return log.read_text().splitlines()


def test_as_json_every_line_is_an_object(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in said(tmp_path, OTEL_DNS__TELEMETRY__LOG__FORMAT="json")]

    assert {line["level"] for line in lines} == {"info"}
    assert lines[0]["message"].startswith("otlp on ")
    assert lines[1]["message"].startswith("the page: http://")
    assert all(set(line) == {"time", "level", "logger", "message"} for line in lines)


def test_the_level_is_heeded(tmp_path: Path) -> None:
    assert said(tmp_path, OTEL_DNS__TELEMETRY__LOG__LEVEL="error") == []


def test_what_a_child_says_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    line = {"level": "warning", "logger": "otel_dns.history", "message": "50% \n", "time": "now"}
    for said in (
        json.dumps(line | {"exception": "Traceback: ..."}).encode() + b"\n",
        json.dumps(line | {"level": "debug"}).encode(),
        b"Killed \xff\n",
        b"\n",
        b'{"level": 5}',
        b'{"level": "loud", "logger": "a", "message": "b"}',
    ):
        own_log.pass_on(said)
    told = [(one.name, one.levelname, one.getMessage(), one.exc_text) for one in caplog.records]
    assert told == [
        ("otel_dns.history", "WARNING", "50% \n", "Traceback: ..."),
        ("otel_dns", "ERROR", "Killed \ufffd", None),
        ("otel_dns", "ERROR", '{"level": 5}', None),
        ("otel_dns", "ERROR", '{"level": "loud", "logger": "a", "message": "b"}', None),
    ]


FAILING = """
import sys, threading, warnings
from otel_dns.service import own_log
from otel_dns.service.configuration.settings import Log
own_log.set_up(Log(format="json"))
warnings.warn("careful")
def fail():
    raise ValueError("a thread's")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
raise ValueError("nobody's")
"""


def test_what_nobody_caught_is_an_object_too() -> None:
    failed = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, check=False)
    lines = [json.loads(line) for line in failed.stderr.splitlines()]
    assert failed.returncode == 1
    assert [line["level"] for line in lines] == ["warning", "critical", "critical"]
    assert [line["exception"].splitlines()[-1] for line in lines[1:]] == [
        "ValueError: a thread's",
        "ValueError: nobody's",
    ]
