"""What a newcomer sees first, as they see it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from otel_dns.lab import available
from tests.support.programs import require


def test_demo_runs_and_leaves_nothing(tmp_path: Path) -> None:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    require("coredns")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop("XDG_RUNTIME_DIR", None)
    done = subprocess.run(
        [sys.executable, "-m", "otel_dns", "demo"],
        capture_output=True, text=True, timeout=400, check=True,
        env=environment,
    )  # fmt: skip
    shown = done.stdout
    assert re.search(r"^www\.example\.org  ok .* 8 queries, 6 of them waste", shown, re.MULTILINE)
    assert re.search(r"^db  ok .* 2 queries, joined by time, (un)?sure", shown, re.MULTILINE)
    assert re.search(r"connect 192\.0\.2\.53:53 \d+\.\d\d ms", shown)
    report = shown[shown.index("In short") :]
    # Which one is the slowest is the machine's: mostly slow.example, for its upstream.
    assert re.search(r"slowest +\S+  \d+\.\d\d ms: \d+% of it is [a-z ]+.*, \d+\.\d\d ms", report)
    assert re.search(r"waste +www\.example\.org: 6 of 8 queries", report)
    assert re.search(r"failed +paymets: not found", report)
    assert "RECORDING" not in shown
    assert not processes_with(tmp_path)
    assert not list(tmp_path.iterdir())


def test_demo_ends_with_the_page_until_ctrl_c(tmp_path: Path) -> None:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    require("coredns")
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    environment.pop("XDG_RUNTIME_DIR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "otel_dns", "demo", "--page"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        try:
            address = named = None
            while address is None and (line := demo.stdout.readline()):
                named = named or re.search(r"slowest +(\S+)  ", line)
                address = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert address is not None
            assert named is not None
            with urllib.request.urlopen(f"{address[0]}api/v1/about", timeout=60) as answer:
                assert json.load(answer)["lookups"] == 5 * 16
            slowest = re.search(r"#/lookup/([0-9a-f/]+)", demo.stdout.readline())
            assert slowest is not None
            url = f"{address[0]}api/v1/lookups/{slowest[1]}"
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert json.load(answer)["name"] == named[1]
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=120)
            assert demo.returncode == 0
        finally:
            demo.kill()
    assert not processes_with(tmp_path)
    assert not list(tmp_path.iterdir())


def processes_with(directory: Path) -> list[str]:
    """Process ids of all that runs with this directory for its temporary files."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={directory}\0".encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found
