"""The files of collector-config agree with the programs and with the rest of the project."""

import re
import subprocess

import pytest

from otel_dns import semconv
from otel_dns.lab.programs import collector_config, versions
from otel_dns.lab.programs.catalog import PROGRAMS
from tests.support.programs import require


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("otelcol", "otel-dns.yaml"),
        ("otelcol", "simple.yaml"),
        ("otelcol", "coredns-logs.yaml"),
        ("jaeger", "jaeger-memory.yaml"),
    ],
)
def test_the_program_finds_the_configuration_valid(program: str, name: str) -> None:
    command = [require(program), "validate", "--config", collector_config() / name]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_built_collector_has_the_components() -> None:
    result = subprocess.run(
        [require("otelcol"), "components"], capture_output=True, text=True, check=True
    )
    assert PROGRAMS["otelcol"].usable(result.stdout)


def test_the_manifest_is_of_one_version() -> None:
    manifest = (collector_config() / "builder.yaml").read_text()
    kinds = "receiver|processor|exporter|connector|extension"
    components = re.findall(rf"gomod: \S+/(?:{kinds})/\S+ v(\S+)", manifest)
    assert set(components) == {versions.COLLECTOR}
    assert f"  version: {versions.COLLECTOR}\n" in manifest


def test_the_filters_name_the_clients_scope_and_the_joins_mark() -> None:
    config = (collector_config() / "otel-dns.yaml").read_text()
    scope, mark = semconv.CLIENT_SCOPE, semconv.JOIN_METHOD
    condition = f'scope.name == "{scope}" and span.attributes["{mark}"] == nil'
    assert f"- not ({condition})\n" in config
    assert f"- {condition}\n" in config
