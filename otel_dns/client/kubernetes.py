"""Which Pod this process runs in, from what Kubernetes gives a Pod without any rights.

The only file of the client that needs the SDK: the SDK is who calls it.
"""

import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_dns import semconv

PODINFO_VARIABLE: Final = "OTEL_DNS_PODINFO"
SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    semconv.K8S_POD_NAME: ("OTEL_POD_NAME", "K8S_POD_NAME", "POD_NAME"),
    semconv.K8S_POD_UID: ("OTEL_POD_UID", "K8S_POD_UID", "POD_UID"),
    semconv.K8S_POD_IP: ("OTEL_POD_IP", "K8S_POD_IP", "POD_IP"),
    semconv.K8S_NAMESPACE_NAME: (
        "OTEL_POD_NAMESPACE",
        "K8S_NAMESPACE_NAME",
        "K8S_NAMESPACE",
        "POD_NAMESPACE",
    ),
    semconv.K8S_NODE_NAME: ("OTEL_NODE_NAME", "K8S_NODE_NAME", "NODE_NAME"),
    semconv.K8S_NODE_IP: ("OTEL_NODE_IP", "K8S_NODE_IP", "NODE_IP", "HOST_IP"),
    semconv.K8S_CONTAINER_NAME: ("OTEL_CONTAINER_NAME", "K8S_CONTAINER_NAME", "CONTAINER_NAME"),
}
"""Names under which the downward API's values usually arrive; the most specific one wins."""


PODINFO: Final = Path("/etc/podinfo")
"""Where Kubernetes' own documentation mounts the downward API's volume."""
PROC: Final = Path("/proc/self")

_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    semconv.K8S_POD_NAME: ("name", "pod-name", "pod_name"),
    semconv.K8S_POD_UID: ("uid", "pod-uid", "pod_uid"),
    semconv.K8S_POD_IP: ("ip", "pod-ip", "pod_ip"),
    semconv.K8S_NAMESPACE_NAME: ("namespace", "pod-namespace", "pod_namespace"),
    semconv.K8S_NODE_NAME: ("node", "node-name", "node_name"),
    semconv.K8S_CONTAINER_NAME: ("container", "container-name", "container_name"),
}
"""Names of files that downward API volumes usually have."""
_UID: Final = r"[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}"
# The kubelet's names (pkg/kubelet/cm): by path, `/kubepods/burstable/pod<uid>/<container>`; by
# systemd, `kubepods-burstable-pod<uid_with_underscores>.slice/cri-containerd-<container>.scope`.
_CGROUP_POD: Final = re.compile(rf"\bkubepods\b.*?pod({_UID})")
_CGROUP_CONTAINER: Final = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?$")
# Under cgroup v2 the path is `/` from inside; the mounts still tell. The kubelet mounts
# /etc/hosts, the volumes, and the container's log from its own directories; the runtimes keep
# resolv.conf and hostname beside the container (containerd: the sandbox's, which is another's).
_MOUNT_POD: Final = re.compile(rf"/pods/({_UID})/")
_MOUNT_CONTAINER: Final = re.compile(
    r"/(?:containers|overlay-containers)/([0-9a-f]{64})/(?:hostname|resolv\.conf|userdata)"
)
_MAX_PROC_CHARS: Final = 1 << 20


class KubernetesResourceDetector(ResourceDetector):
    """Describes the Pod: name, uid, address, namespace, node, container; each if it is known.

    From environment variables, else a volume of the downward API, else what the kernel shows of
    the container (uid and container id), else the host's name and the service account.

    Switched on by ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=otel,otel_dns_kubernetes``.
    """

    def __init__(
        self,
        raise_on_error: bool = False,
        *,
        environ: Mapping[str, str] | None = None,
        namespace_file: Path = SERVICE_ACCOUNT_NAMESPACE,
        podinfo: Path = PODINFO,
        proc: Path = PROC,
        hostname: Callable[[], str] = socket.gethostname,
    ) -> None:
        """Prepare to look; nothing is read before `detect`.

        Args:
            raise_on_error: As for every detector; nothing here raises.
            environ: The environment; that of this process if not given.
            namespace_file: The service account's namespace.
            podinfo: A volume of the downward API; ``OTEL_DNS_PODINFO`` names another one.
            proc: This process's directory in /proc.
            hostname: Tells the machine's name.
        """
        super().__init__(raise_on_error)
        self._environ = os.environ if environ is None else environ
        self._namespace_file = namespace_file
        self._podinfo = Path(self._environ.get(PODINFO_VARIABLE, "").strip() or podinfo)
        self._proc = proc
        self._hostname = hostname

    def detect(self) -> Resource:
        """Return the attributes that are known; none outside Kubernetes."""
        found: dict[str, str] = {}
        for attribute, variables in _VARIABLES.items():
            values = (self._environ.get(variable, "").strip() for variable in variables)
            value = next(filter(None, values), "")
            if value:
                found[attribute] = value
        for attribute, files in _FILES.items():
            values = (_text(self._podinfo / file) for file in files)
            found.setdefault(attribute, next(filter(None, values), ""))
        uid, container = pod_and_container(
            _text(self._proc / "cgroup"), _text(self._proc / "mountinfo")
        )
        if uid and not found[semconv.K8S_POD_UID]:
            found[semconv.K8S_POD_UID] = uid
        found[semconv.CONTAINER_ID] = container
        if "KUBERNETES_SERVICE_HOST" in self._environ:
            # A Pod's host name is its own name, unless its spec or its host network says otherwise;
            # the downward API knows better where it is used.
            if not found[semconv.K8S_POD_NAME]:
                found[semconv.K8S_POD_NAME] = self._hostname()
            if not found[semconv.K8S_NAMESPACE_NAME]:
                found[semconv.K8S_NAMESPACE_NAME] = _text(self._namespace_file)
        return Resource({name: value for name, value in found.items() if value})


def pod_and_container(cgroup: str, mountinfo: str) -> tuple[str, str]:
    """Return the Pod's uid and the container's id, each empty if nothing tells it.

    Args:
        cgroup: The text of /proc/self/cgroup, of version 1 or 2.
        mountinfo: The text of /proc/self/mountinfo.
    """
    uid = container = ""
    for line in cgroup.splitlines():
        if not uid and (found := _CGROUP_POD.search(line)):
            uid = found[1].replace("_", "-")
        if not container and (found := _CGROUP_CONTAINER.search(line)):
            container = found[1]
    if not uid and (found := _MOUNT_POD.search(mountinfo)):
        uid = found[1]
    if not container and (found := _MOUNT_CONTAINER.search(mountinfo)):
        container = found[1]
    return uid, container


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_PROC_CHARS).strip()
    except (OSError, ValueError):
        return ""
