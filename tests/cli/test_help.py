"""Help texts, as a person reads them."""

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from otel_dns.cli import main


def _commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _commands(command, *path, name)


@pytest.mark.parametrize("command", list(_commands(main)), ids=" ".join)
def test_help_says_something_and_shows_examples_as_lines(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*command, "--help"])
    assert done.exit_code == 0, done.output
    usage, _, text = done.output.partition("\n\n")
    assert usage.startswith("Usage: ")
    assert text.split("Options:")[0].strip()
    # click's mark for lines that stay as they are; in a raw string it is none, and is printed.
    assert "\\b" not in done.output


@pytest.mark.parametrize(
    ("missing", "command", "answer"),
    [
        ("click", ("serve",), "pip install 'otel-dns[history]'"),
        ("pyarrow", ("report", "--since", "1h"), "pip install 'otel-dns[history]'"),
        ("pyarrow", ("demo",), "pip install 'otel-dns[lab]'"),
    ],
)
def test_what_is_not_installed_is_said_without_a_traceback(
    missing: str, command: tuple[str, ...], answer: str
) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; import otel_dns.__main__ as m; m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert answer in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_that_takes_long() -> None:
    program = """
import sys
from click.testing import CliRunner
for heavy in ("duckdb", "fastapi", "grpc", "ibis", "numpy", "pyarrow", "rich", "uvicorn"):
    sys.modules[heavy] = None
from otel_dns.cli import main
for command in sys.stdin.read().splitlines():
    done = CliRunner().invoke(main, [*command.split(), "--help"])
    assert done.exit_code == 0, (command, done.output)
"""
    commands = "\n".join(map(" ".join, _commands(main)))
    subprocess.run([sys.executable, "-c", program], input=commands, text=True, check=True)


def test_a_list_of_the_commands_loads_none() -> None:
    program = """
import sys
sys.modules["rich"] = sys.modules["pyarrow"] = sys.modules["grpc"] = None
from otel_dns.__main__ import main
main()
"""

    def run(*arguments: str, **variables: str) -> str:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.check_output(command, env={**os.environ, **variables}, text=True)

    listed = run("--help")
    completed = run(_OTEL_DNS_COMPLETE="bash_complete", COMP_WORDS="otel-dns ", COMP_CWORD="1")
    for name in main.list_commands(click.Context(main)):
        assert f"  {name} " in listed
        assert f"plain,{name}\n" in completed
    assert "..." not in listed.partition("Commands:")[2]
