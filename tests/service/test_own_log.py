"""What `otel-dns serve` says of itself, as a program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.processes import answers, free_addresses
from tests.support.waiting import eventually


def said(tmp_path: Path, **variables: str) -> list[str]:
    """All lines of a processor that started, and ended on SIGTERM."""
    otlp, http = free_addresses(2)
    log = tmp_path / "log"
    with log.open("w") as standard_error:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "otel_dns", "serve", "--no-history"),
                *("--otlp-listen", otlp, "--http-listen", http),
            ],
            stderr=standard_error,
            env={**os.environ, **variables},
        )
        try:
            eventually(lambda: answers(f"http://{http}/readyz"), "the processor")
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
    assert all(set(line) == {"time", "level", "logger", "message"} for line in lines)


def test_the_level_is_heeded(tmp_path: Path) -> None:
    assert said(tmp_path, OTEL_DNS__TELEMETRY__LOG__LEVEL="error") == []
