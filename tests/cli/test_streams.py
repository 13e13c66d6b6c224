"""Commands whose standard output nobody reads any more, or which cannot be written."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from otel_dns.lab import record
from tests.history.support import keep, searched
from tests.support.spans import SECOND

RECORDING: Final = Path(record.__file__).with_name("recordings") / "demo"
COREFILE: Final = Path(__file__).parents[2] / "collector-config/corefiles/level-2.Corefile"
RUNS_EACH: Final = """
import importlib, json, os, sys, tempfile
import otel_dns.cli.report_document, otel_dns.cli.replay_run, otel_dns.cli.remote
from otel_dns.__main__ import main

ended = {}
for arguments in json.load(sys.stdin):
    reading, writing = os.pipe()
    os.close(reading)
    said = tempfile.TemporaryFile()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        os.dup2(said.fileno(), 2)
        sys.argv[1:] = arguments
        main()
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said.seek(0)
    ended[" ".join(arguments)] = code, said.read().decode()
print(json.dumps(ended))
"""
"""One process that has loaded everything, for loading takes longer than what is tested."""


def test_a_reader_that_leaves_ends_every_command_quietly(tmp_path: Path) -> None:
    keep(tmp_path, *(searched(n * SECOND) for n in range(100)))
    commands = [
        ["--help"], ["slow", "--help"], ["serve", "--print-schema"], ["serve", "--check"],
        ["completion", "bash"], ["bench", "join", "--list"], ["programs"],
        ["check-corefile", str(COREFILE)], ["check-corefile", "--json", str(COREFILE)],
        ["demo", "--replay"], ["replay", str(RECORDING)], ["replay", "--json", str(RECORDING)],
    ]  # fmt: skip
    questions = [["slow"], ["top"], ["report"], ["watch", "*"], ["query", "FROM lookups", "--json"]]
    history = ["--history", str(tmp_path)]
    commands += [[*question, "--since", "all", *history] for question in questions]
    commands += [["show", "last", *history]]
    done = subprocess.run(
        [sys.executable, "-c", RUNS_EACH],
        input=json.dumps(commands), capture_output=True, text=True, check=True,
    )  # fmt: skip
    ended = json.loads(done.stdout)
    assert {command: (code, said) for command, (code, said) in ended.items()} == {
        " ".join(command): (141, "") for command in commands
    }


def test_head_gets_its_lines(tmp_path: Path) -> None:
    keep(tmp_path, *(searched(n * SECOND) for n in range(100)))
    command = [sys.executable, "-m", "otel_dns", "export", "--since", "all", "--history", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
        assert export.stdout is not None
        assert export.stderr is not None
        assert export.stdout.readline().startswith(b'{"')
        export.stdout.close()
        assert (export.wait(), export.stderr.read()) == (141, b"")


def test_a_full_disk_is_said() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "otel_dns", "completion", "bash"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    said = "Error: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_without_standard_output_it_does_its_work() -> None:
    script = '"$1" -m otel_dns completion bash >&-'
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_json_is_whole_where_not_all_characters_are(tmp_path: Path) -> None:
    keep(tmp_path, *(searched(n * SECOND) for n in range(2)))
    question = "SELECT 'bücher.example µ ✓' AS name"
    done = subprocess.run(
        [sys.executable, "-m", "otel_dns", "query", question, "--json", "--history", tmp_path],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [{"name": "bücher.example µ ✓"}]
