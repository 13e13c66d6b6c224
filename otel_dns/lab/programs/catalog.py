"""The programs of the lab, each with how to recognise it and how to build it."""

import dataclasses
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otel_dns.lab.programs import versions


@dataclasses.dataclass(frozen=True, slots=True)
class GoInstall:
    """Built by ``go install package@version``."""

    package: str
    version: str


@dataclasses.dataclass(frozen=True, slots=True)
class OwnModule:
    """Built from a go.mod and go.sum of ours, for modules that ``go install`` refuses."""

    folder: Path
    package: str
    linker_values: tuple[tuple[str, str], ...]
    """(Go variable, value): the version, which the program otherwise would not know."""
    left_out: str = ""
    """A file of its module that it is built without."""

    @property
    def module(self) -> str:
        """The module that the package is of."""
        return self.package.partition("/cmd/")[0]


@dataclasses.dataclass(frozen=True, slots=True)
class CollectorBuild:
    """Built by the OpenTelemetry Collector's own builder from a manifest."""

    version: str
    manifest: Path


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """One program that the lab can start."""

    name: str
    version: str
    purpose: str
    recipe: GoInstall | OwnModule | CollectorBuild
    about_seconds: int
    """How long a build takes on two cores with empty caches."""
    version_arguments: tuple[str, ...]
    usable: Callable[[str], bool]
    """Whether that call's output shows the right program in a version that will do."""
    optional: bool = False
    """Whether only a few tests want it: where it cannot be had, all else goes on."""

    @property
    def override(self) -> str:
        """The environment variable that names a program to use instead."""
        return f"OTEL_DNS_{self.name.upper()}"

    @property
    def key(self) -> str:
        """Names one build: changes whenever what goes into the build changes."""
        inputs = _inputs(self.recipe)
        if not inputs:
            return f"{self.name}-{self.version}"
        digest = hashlib.sha256(b"\0".join(inputs))
        return f"{self.name}-{self.version}-{digest.hexdigest()[:8]}"


def _inputs(recipe: GoInstall | OwnModule | CollectorBuild) -> list[bytes]:
    match recipe:
        case GoInstall():
            return []
        case OwnModule(folder=folder, left_out=left_out):
            files = [(folder / name).read_bytes() for name in ("go.mod", "go.sum")]
            return [*files, left_out.encode()] if left_out else files
        case CollectorBuild(manifest=manifest):
            return [manifest.read_bytes()]


def collector_config() -> Path:
    """The folder of Collector and Jaeger configurations: in the wheel, else beside the sources."""
    package = Path(__file__).parents[2]
    shipped = package / "collector_config"
    return shipped if shipped.is_dir() else package.parent / "collector-config"


def _at_least(pattern: str, minimum: str) -> Callable[[str], bool]:
    """A check that ``pattern``'s first group is a version, and not older than ``minimum``."""

    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in version.split("."))

    def usable(output: str) -> bool:
        found = re.search(pattern, output)
        return found is not None and numbers(found[1]) >= numbers(minimum)

    return usable


COLLECTOR_COMPONENTS: Final = {
    "receivers": {"otlp", "zipkin", "file_log", "jaeger"},
    "processors": {"batch", "memory_limiter", "filter", "transform", "tail_sampling"},
    "exporters": {"otlp_grpc", "otlp_http", "debug", "file"},
    "connectors": {"forward"},
    "extensions": {"health_check", "file_storage"},
}
"""What our configurations use, by the names that the Collector has for them in this version."""


def _has_our_components(output: str) -> bool:
    # The output of "otelcol components" is YAML of one known shape; no parser is needed for it.
    found: dict[str, set[str]] = {}
    section = ""
    for line in output.splitlines():
        if heading := re.match(r"(\w+):", line):
            section = heading[1]
        elif name := re.match(r"\s+-?\s*name: (\S+)", line):
            found.setdefault(section, set()).add(name[1])
    return all(names <= found.get(kind, set()) for kind, names in COLLECTOR_COMPONENTS.items())


_HERE: Final = Path(__file__).parent

_DISCOVERIES: Final = "plugins/plugins.go"
"""Prometheus finds its targets in every cloud by this file; three quarters of the code that would
be compiled are their libraries. Without it there is its own minimum: files and HTTP.
"""

PROGRAMS: Final = {
    program.name: program
    for program in (
        Program(
            name="coredns",
            version=versions.COREDNS,
            purpose="the DNS servers of the lab",
            recipe=GoInstall("github.com/coredns/coredns", f"v{versions.COREDNS}"),
            about_seconds=120,
            version_arguments=("-version",),
            usable=_at_least(r"CoreDNS-(\d+\.\d+\.\d+)", versions.COREDNS),
        ),
        Program(
            name="otelcol",
            version=versions.COLLECTOR,
            purpose="the OpenTelemetry Collector",
            recipe=CollectorBuild(f"v{versions.COLLECTOR}", collector_config() / "builder.yaml"),
            about_seconds=200,
            version_arguments=("components",),
            usable=_has_our_components,
        ),
        Program(
            name="jaeger",
            version=versions.JAEGER,
            purpose="keeps and searches traces",
            recipe=OwnModule(
                _HERE / "jaeger",
                "github.com/jaegertracing/jaeger/cmd/jaeger",
                (
                    (
                        "github.com/jaegertracing/jaeger/internal/version.latestVersion",
                        f"v{versions.JAEGER}",
                    ),
                ),
            ),
            about_seconds=220,
            version_arguments=("version",),
            usable=_at_least(r'"gitVersion":"v(\d+\.\d+\.\d+)', "2.10.0"),
        ),
        Program(
            name="prometheus",
            version=versions.PROMETHEUS,
            purpose="keeps and searches metrics",
            recipe=OwnModule(
                _HERE / "prometheus",
                "github.com/prometheus/prometheus/cmd/prometheus",
                (("github.com/prometheus/common/version.Version", versions.PROMETHEUS),),
                _DISCOVERIES,
            ),
            about_seconds=60,
            version_arguments=("--version",),
            # 3.0 is the first that takes OTLP by a stable flag.
            usable=_at_least(r"prometheus, version (\d+\.\d+\.\d+)", "3.0.0"),
        ),
        Program(
            name="promtool",
            version=versions.PROMETHEUS,
            purpose="checks Prometheus's rules",
            recipe=OwnModule(
                _HERE / "prometheus",
                "github.com/prometheus/prometheus/cmd/promtool",
                (("github.com/prometheus/common/version.Version", versions.PROMETHEUS),),
                _DISCOVERIES,
            ),
            about_seconds=40,
            version_arguments=("--version",),
            usable=_at_least(r"promtool, version (\d+\.\d+\.\d+)", "2.42.0"),
        ),
        Program(
            name="telemetrygen",
            version=versions.TELEMETRYGEN,
            purpose="makes traffic that is not about DNS",
            recipe=GoInstall(
                "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen",
                f"v{versions.TELEMETRYGEN}",
            ),
            about_seconds=40,
            # It does not tell its version: what our tests use must be there.
            version_arguments=("traces", "--help"),
            usable=lambda output: "--span-links" in output and "--allow-export-failures" in output,
            optional=True,
        ),
    )
}
