"""``otel-dns programs``."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_dns.cli.programs import programs
from otel_dns.lab.programs import PROGRAMS

Install = Callable[..., Path]


def test_the_list_says_where_each_is_or_how_to_get_it(install: Install) -> None:
    path = install("coredns", "echo CoreDNS-1.15.0")
    result = CliRunner().invoke(programs)
    assert result.exit_code == 0
    for program in PROGRAMS.values():
        assert f"{program.name:<13}{program.version:<9}" in result.output
    assert str(path) in result.output
    assert "missing: otelcol" in result.output
    assert result.output.endswith("otel-dns programs get --all\n")


def test_get_prints_the_paths(install: Install) -> None:
    path = install("coredns", "echo CoreDNS-1.15.0")
    result = CliRunner().invoke(programs, ["get", "coredns"])
    assert (result.exit_code, result.output) == (0, f"coredns: {path}\n")


def test_get_without_a_name_tells_the_names() -> None:
    result = CliRunner().invoke(programs, ["get"])
    assert result.exit_code == 2
    assert "coredns, otelcol, jaeger, prometheus" in result.output


def test_a_failed_get_is_a_message_and_no_traceback(install: Install) -> None:
    install("go", 'if [ "$1" = env ]; then echo go1.26.8; else echo broken; exit 1; fi')
    result = CliRunner().invoke(programs, ["get", "coredns"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "| broken" in result.output


def test_all_goes_on_without_what_few_want(install: Install) -> None:
    for name, program in PROGRAMS.items():
        if not program.optional:
            install(name, "exit 0")
    install("go", 'if [ "$1" = env ]; then echo go1.26.8; else echo broken; exit 1; fi')
    outcomes = {}
    for name in ("telemetrygen", "--all"):
        with pytest.MonkeyPatch.context() as patch:
            for program in PROGRAMS.values():
                if not program.optional:
                    patch.setenv(program.override, f"{os.environ['PATH']}/{program.name}")
            outcomes[name] = CliRunner().invoke(programs, ["get", name])
    assert outcomes["telemetrygen"].exit_code == 1
    assert outcomes["--all"].exit_code == 0
    assert "telemetrygen: going on without it." in outcomes["--all"].output


def test_a_cache_folder_that_cannot_be_written_is_told(install: Install, machine: Path) -> None:
    (machine / "cache").write_text("a file where a folder should be")
    result = CliRunner().invoke(programs, ["get", "coredns"])
    assert result.exit_code == 1
    assert "XDG_CACHE_HOME" in result.output
