"""Write what is generated here: dashboards, and Kubernetes manifests of them and the rules."""

import json
from pathlib import Path
from typing import Any, Final

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.boards import BOARDS

HERE: Final = Path(__file__).parent


def files() -> dict[Path, str]:
    """Every generated file with its text."""
    boards = {
        f"otel-dns-{name}.json": JSONEncoder(sort_keys=True, indent=2).encode(make().build()) + "\n"
        for name, make in BOARDS.items()
    }
    made = {HERE / "grafana" / name: text for name, text in boards.items()}
    made[HERE / "kubernetes" / "grafana-dashboards.yaml"] = _config_map(boards)
    made[HERE / "kubernetes" / "prometheus-rules.yaml"] = _prometheus_rule()
    return made


def _config_map(boards: dict[str, str]) -> str:
    """The dashboards as a ConfigMap with the label that the Grafana chart's sidecar looks for."""
    manifest: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "otel-dns-dashboards",
            "labels": {"grafana_dashboard": "1", "app.kubernetes.io/part-of": "otel-dns"},
        },
        "data": {name: json.dumps(json.loads(text)) + "\n" for name, text in boards.items()},
    }
    return yaml.safe_dump(manifest, sort_keys=False, width=1_000_000)


def _prometheus_rule() -> str:
    """The rules as the Prometheus Operator takes them."""
    groups = []
    for name in ("otel-dns-recording.yaml", "otel-dns-alerts.yaml"):
        groups += yaml.safe_load((HERE / "prometheus" / name).read_text())["groups"]
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "otel-dns", "labels": {"app.kubernetes.io/part-of": "otel-dns"}},
        "spec": {"groups": groups},
    }
    return yaml.safe_dump(manifest, sort_keys=False, width=1_000_000)


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
