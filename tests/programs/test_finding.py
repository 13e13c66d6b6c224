"""``find``: which program is taken, and what is said when there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from otel_dns.lab.programs import PROGRAMS, ProgramMissing, find
from otel_dns.lab.programs.catalog import COLLECTOR_COMPONENTS

Install = Callable[..., Path]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_program_is_told_with_the_command_that_gets_it(name: str) -> None:
    with pytest.raises(ProgramMissing) as failure:
        find(name)
    assert f"otel-dns programs get {name}" in str(failure.value)
    assert f"OTEL_DNS_{name.upper()}=" in str(failure.value)


@pytest.mark.parametrize(
    ("name", "output", "usable"),
    [
        ("coredns", "CoreDNS-1.15.0", True),
        ("coredns", "CoreDNS-1.100.0", True),
        ("coredns", "CoreDNS-1.14.9", False),
        ("coredns", "something else", False),
        ("prometheus", "prometheus, version 3.7.3 (branch: HEAD, revision: x)", True),
        ("prometheus", "prometheus, version 2.42.0 (branch: HEAD, revision: x)", False),
        ("jaeger", '{"gitCommit":"x","gitVersion":"v2.13.0"}', True),
        ("jaeger", '{"gitCommit":"x","gitVersion":"v1.76.0"}', False),
    ],
)
def test_a_program_on_path_is_taken_in_a_usable_version_only(
    install: Install, name: str, output: str, usable: bool
) -> None:
    path = install(name, f"echo '{output}'")
    if usable:
        assert find(name) == path
    else:
        with pytest.raises(ProgramMissing, match=f"{path} is not it"):
            find(name)


def components(leave_out: str = "") -> str:
    lines = ["buildinfo:", "    command: otelcol"]
    for kind, names in COLLECTOR_COMPONENTS.items():
        lines.append(f"{kind}:")
        lines += [f"    - name: {name}\n      module: x" for name in names if name != leave_out]
    return "cat <<'END'\n" + "\n".join(lines) + "\nEND"


def test_a_collector_on_path_must_have_our_components(install: Install) -> None:
    path = install("otelcol", components())
    assert find("otelcol") == path


@pytest.mark.parametrize("component", ["tail_sampling", "zipkin", "otlp_grpc", "forward"])
def test_a_collector_that_lacks_a_component_is_not_taken(install: Install, component: str) -> None:
    install("otelcol", components(leave_out=component))
    with pytest.raises(ProgramMissing):
        find("otelcol")


@pytest.mark.parametrize("script", ["echo CoreDNS-1.15.0; exit 1", "kill -9 $$"])
def test_a_program_that_fails_is_not_taken(install: Install, script: str) -> None:
    install("coredns", script)
    with pytest.raises(ProgramMissing):
        find("coredns")


def test_the_cache_comes_after_path(install: Install, cache: Path) -> None:
    built = install("coredns", "", cache / PROGRAMS["coredns"].key)
    assert find("coredns") == built
    on_path = install("coredns", "echo CoreDNS-1.15.0")
    assert find("coredns") == on_path


def test_the_override_comes_first_and_is_not_second_guessed(
    install: Install, monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    install("coredns", "echo CoreDNS-1.15.0")
    mine = install("my-coredns", "", machine / "elsewhere")
    monkeypatch.setenv("OTEL_DNS_COREDNS", str(mine))
    assert find("coredns") == mine


def test_a_wrong_override_is_an_error_and_not_passed_over(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("coredns", "echo CoreDNS-1.15.0")
    monkeypatch.setenv("OTEL_DNS_COREDNS", "/no/such/file")
    with pytest.raises(ProgramMissing, match="OTEL_DNS_COREDNS=/no/such/file"):
        find("coredns")


def test_a_relative_cache_folder_is_ignored(
    monkeypatch: pytest.MonkeyPatch, install: Install, machine: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    folder = machine / "home/.cache/otel-dns/programs" / PROGRAMS["coredns"].key
    built = install("coredns", "", folder)
    assert find("coredns") == built
