from pathlib import Path

import pytest

from otel_dns.client.kubernetes import KubernetesResourceDetector


def detect(environ: dict[str, str], namespace_file: Path = Path("/nowhere")) -> dict[str, object]:
    detector = KubernetesResourceDetector(
        environ=environ, namespace_file=namespace_file, hostname=lambda: "web-7d4b9-xk2lp"
    )
    return dict(detector.detect().attributes)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {}),
        ({"HOSTNAME": "laptop", "POD_NAME": " "}, {}),
        (
            {
                "POD_NAME": "web-0",
                "POD_NAMESPACE": "shop",
                "NODE_NAME": "node-1",
                "POD_IP": "10.1.0.7",
                "POD_UID": "9d1b",
                "CONTAINER_NAME": "web",
            },
            {
                "k8s.pod.name": "web-0",
                "k8s.namespace.name": "shop",
                "k8s.node.name": "node-1",
                "k8s.pod.ip": "10.1.0.7",
                "k8s.pod.uid": "9d1b",
                "k8s.container.name": "web",
            },
        ),
        ({"OTEL_POD_IP": "10.1.0.7", "POD_IP": "10.1.0.8"}, {"k8s.pod.ip": "10.1.0.7"}),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {"k8s.pod.name": "web-7d4b9-xk2lp"}),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "K8S_POD_NAME": "web-0"},
            {"k8s.pod.name": "web-0"},
        ),
    ],
)
def test_detect(environ: dict[str, str], expected: dict[str, str]) -> None:
    assert detect(environ) == expected


def test_namespace_of_the_service_account(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("shop\n")
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert detect(inside, file)["k8s.namespace.name"] == "shop"
    assert detect({**inside, "POD_NAMESPACE": "x"}, file)["k8s.namespace.name"] == "x"
    assert detect({}, file) == {}
    file.write_bytes(b"\xff")
    assert "k8s.namespace.name" not in detect(inside, file)
    assert "k8s.namespace.name" not in detect(inside, tmp_path)
