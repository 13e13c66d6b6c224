"""The real `opentelemetry-instrument`, around programs that know nothing of it."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_dns import semconv

INSTRUMENT = Path(sys.executable).with_name("opentelemetry-instrument")
ROOT = Path(__file__).parents[2]
INSTALLED = any(
    entry.name == "otel_dns_getaddrinfo"
    for entry in importlib.metadata.entry_points(group="opentelemetry_instrumentor")
)

pytestmark = pytest.mark.skipif(
    not (INSTALLED and INSTRUMENT.exists()),
    reason="needs otel-dns[dnspython,otlp] installed beside this Python",
)


def run(
    tmp_path: Path, *command: str, **environ: str
) -> tuple["subprocess.CompletedProcess[str]", list[dict[str, Any]]]:
    """Run a program under opentelemetry-instrument; return its end and the spans it printed."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "PYTHON", "POD_", "KUBERNETES_"))
    }
    done = subprocess.run(
        [str(INSTRUMENT), sys.executable, *command],
        cwd=tmp_path,
        env=inherited
        | {
            "OTEL_SERVICE_NAME": "storefront",
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            # Whatever nameservers this machine has, and whether they answer or not.
            "RES_OPTIONS": "timeout:1 attempts:1",
        }
        | environ,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    decoder = json.JSONDecoder()
    spans, rest = [], done.stdout
    while (start := rest.find("{\n")) >= 0:
        span, end = decoder.raw_decode(rest[start:])
        spans.append(span)
        rest = rest[start + end :]
    return done, [span for span in spans if span["name"] == semconv.LOOKUP_SPAN]


def test_getaddrinfo_is_instrumented(tmp_path: Path) -> None:
    done, spans = run(
        tmp_path,
        "-c",
        "import socket; socket.getaddrinfo('localhost', 80); socket.getaddrinfo('::1', 80)",
        OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="otel,otel_dns_kubernetes",
        POD_NAME="storefront-0",
        POD_NAMESPACE="shop",
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    (span,) = spans
    assert span["attributes"][semconv.DNS_QUESTION_NAME] == "localhost"
    resource = span["resource"]["attributes"]
    assert resource[semconv.SERVICE_NAME] == "storefront"
    assert resource[semconv.K8S_POD_NAME] == "storefront-0"
    assert resource[semconv.K8S_NAMESPACE_NAME] == "shop"


def test_dnspython_is_instrumented(tmp_path: Path) -> None:
    program = (
        "import dns.exception, dns.resolver\n"
        "resolver = dns.resolver.Resolver(configure=False)\n"
        "resolver.nameservers = ['127.0.0.1']; resolver.port = 9; resolver.lifetime = 0.2\n"
        "try: resolver.resolve('a.example.', 'MX')\n"
        "except dns.exception.DNSException: print('none')\n"
    )
    done, spans = run(tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    (span,) = spans
    assert span["attributes"][semconv.DNS_QUESTION_TYPE] == "MX"
    assert span["attributes"][semconv.ERROR_TYPE]


def test_without_dnspython_nothing_is_said_and_nothing_else_breaks(tmp_path: Path) -> None:
    (tmp_path / "dns.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'dns'\", name='dns')\n"
    )
    done, spans = run(
        tmp_path,
        "-c",
        "import socket; socket.getaddrinfo('localhost', 80)",
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert len(spans) == 1


def test_one_of_them_switched_off(tmp_path: Path) -> None:
    done, spans = run(
        tmp_path,
        "-c",
        "import socket; socket.getaddrinfo('localhost', 80)",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otel_dns_getaddrinfo",
    )
    assert done.returncode == 0, done.stderr
    assert not spans


def test_exporter_with_a_host_name_makes_no_loop(tmp_path: Path) -> None:
    """OTLP to a host name that refuses: the exporter looks it up, and no span comes of that."""
    done, spans = run(
        tmp_path,
        "-c",
        "import socket; socket.getaddrinfo('localhost', 80)",
        OTEL_TRACES_EXPORTER="console,otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:9",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    )
    assert done.returncode == 0, done.stderr
    assert len(spans) == 1


def test_storefront_is_ordinary_and_is_seen(tmp_path: Path) -> None:
    app = ROOT / "examples" / "storefront" / "app.py"
    source = app.read_text()
    code = "\n".join(line for line in source.splitlines() if line.startswith(("import", "from")))
    assert "otel" not in code
    assert "opentelemetry" not in code

    done, spans = run(tmp_path, str(app))
    assert done.returncode == 0, done.stderr
    for step in ("catalogue", "database", "prices", "partner", "payments"):
        assert f"{step:<10}: " in done.stdout
    asked = {span["attributes"][semconv.DNS_QUESTION_NAME] for span in spans}
    assert {"web", "db", "www.example.org", "slow.example.", "paymets"} <= asked
