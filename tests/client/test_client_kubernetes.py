from pathlib import Path

import pytest

from otel_dns.client.kubernetes import KubernetesResourceDetector, pod_and_container


def detect(environ: dict[str, str], namespace_file: Path = Path("/nowhere")) -> dict[str, object]:
    detector = KubernetesResourceDetector(
        environ=environ,
        namespace_file=namespace_file,
        podinfo=Path("/nowhere"),
        proc=Path("/nowhere"),
        hostname=lambda: "web-7d4b9-xk2lp",
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


UID = "0f8e7b3c-9d1b-4c2a-8e57-3a1b2c3d4e5f"
CONTAINER = "5f" * 32
UID_ = UID.replace("-", "_")
SANDBOX = "a1" * 32


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "expected"),
    [
        ("", "", ("", "")),
        # A laptop, version 1 and 2, and a plain Docker container.
        ("12:cpu:/user.slice\n0::/user.slice/user-1000.slice/session-2.scope\n", "", ("", "")),
        (f"4:memory:/docker/{CONTAINER}\n", "", ("", CONTAINER)),
        # Version 1, cgroupfs driver; guaranteed and burstable.
        (f"11:memory:/kubepods/pod{UID}/{CONTAINER}\n", "", (UID, CONTAINER)),
        (f"11:memory:/kubepods/burstable/pod{UID}/{CONTAINER}\n", "", (UID, CONTAINER)),
        # Version 1 and 2, systemd driver: containerd, CRI-O.
        (
            (
                f"1:name=systemd:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
                f"{UID_}.slice/cri-containerd-{CONTAINER}.scope\n"
            ),
            "",
            (UID, CONTAINER),
        ),
        (
            f"0::/kubepods.slice/kubepods-pod{UID_}.slice/crio-{CONTAINER}.scope\n",
            "",
            (UID, CONTAINER),
        ),
        # kind: the node is itself a container, and its cgroup comes first.
        (
            (
                f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod"
                f"{UID_}.slice/cri-containerd-{CONTAINER}.scope\n"
            ),
            "",
            (UID, CONTAINER),
        ),
        # Version 2 with a cgroup namespace of its own: only the mounts tell. The sandbox, whose
        # resolv.conf containerd mounts, is not the container.
        (
            "0::/\n",
            (
                f"1 2 8:1 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
                f"3 2 8:1 /r/containerd/io.containerd.grpc.v1.cri/sandboxes/{SANDBOX}/resolv.conf"
                " /etc/resolv.conf rw - ext4 /dev/sda1 rw\n"
            ),
            (UID, ""),
        ),
        (
            "0::/\n",
            f"1 2 8:1 /var/lib/docker/containers/{CONTAINER}/resolv.conf /etc/resolv.conf rw -\n",
            ("", CONTAINER),
        ),
        ("0::/kubepods/pod1234/zz\n\x00", "garbage /pods/1234/ \x00", ("", "")),
    ],
)
def test_what_the_kernel_tells(cgroup: str, mountinfo: str, expected: tuple[str, str]) -> None:
    assert pod_and_container(cgroup, mountinfo) == expected


def test_a_volume_of_the_downward_api(tmp_path: Path) -> None:
    volume, proc = tmp_path / "podinfo", tmp_path / "proc"
    volume.mkdir()
    proc.mkdir()
    (volume / "name").write_text("web-0\n")
    (volume / "namespace").write_text("shop")
    (volume / "uid").write_text("9d1b")
    (proc / "cgroup").write_text(f"0::/kubepods/pod{UID}/{CONTAINER}\n")

    def found(environ: dict[str, str]) -> dict[str, object]:
        detector = KubernetesResourceDetector(environ=environ, podinfo=volume, proc=proc)
        return dict(detector.detect().attributes)

    expected = {
        "k8s.pod.name": "web-0",
        "k8s.namespace.name": "shop",
        "k8s.pod.uid": "9d1b",
        "container.id": CONTAINER,
    }
    assert found({}) == expected
    assert found({"POD_NAME": "other"}) == {**expected, "k8s.pod.name": "other"}
    elsewhere = found({"OTEL_DNS_PODINFO": str(tmp_path / "nowhere")})
    assert elsewhere == {"k8s.pod.uid": UID, "container.id": CONTAINER}


def test_the_operators_variables() -> None:
    found = detect({"OTEL_POD_IP": "10.1.0.7", "OTEL_NODE_IP": "192.168.0.4"})
    assert found == {"k8s.pod.ip": "10.1.0.7", "k8s.node.ip": "192.168.0.4"}
