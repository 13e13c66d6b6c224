"""What happens in a lab: an application in a Pod, instrumented from outside, and real DNS."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from otel_dns.lab.errors import LabError

STOREFRONT_LOOKUPS: Final = 5
"""Lookups that the storefront makes in one go."""
RECORDED: Final = ("demo", "node-local-dns", "odd-shapes")
"""What :mod:`otel_dns.lab.record` can set up, by name."""


def storefront() -> list[str]:
    """The storefront's command, from the source tree.

    Raises:
        LabError: this is no source tree.
    """
    path = Path(__file__).resolve().parents[2] / "examples" / "storefront" / "app.py"
    if not path.is_file():
        raise LabError(f"there is no {path}: run this in a clone of otel-dns's repository")
    return [sys.executable, str(path)]


def instrumented(command: Sequence[str]) -> list[str]:
    """The command that runs a Python program under ``opentelemetry-instrument``."""
    return [str(Path(sys.executable).with_name("opentelemetry-instrument")), *command]


def client_env(otlp: str, *, service: str = "storefront") -> Mapping[str, str]:
    """The environment that an instrumented application gets.

    Args:
        otlp: ``host:port`` that takes OTLP over gRPC.
        service: Its ``service.name``.
    """
    return {
        "OTEL_SERVICE_NAME": service,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp}",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel,otel_dns_kubernetes",
    }
