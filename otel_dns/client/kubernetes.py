"""Which Pod this process runs in, from what Kubernetes gives a Pod without any rights.

The only file of the client that needs the SDK: the SDK is who calls it.
"""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_dns import semconv

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
    semconv.K8S_CONTAINER_NAME: ("OTEL_CONTAINER_NAME", "K8S_CONTAINER_NAME", "CONTAINER_NAME"),
}
"""Names under which the downward API's values usually arrive; the most specific one wins."""


class KubernetesResourceDetector(ResourceDetector):
    """Describes the Pod: name, uid, address, namespace, node, container; each if it is known.

    Switched on by ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=otel,otel_dns_kubernetes``.
    """

    def __init__(
        self,
        raise_on_error: bool = False,
        *,
        environ: Mapping[str, str] | None = None,
        namespace_file: Path = SERVICE_ACCOUNT_NAMESPACE,
        hostname: Callable[[], str] = socket.gethostname,
    ) -> None:
        """Prepare to look; nothing is read before `detect`.

        Args:
            raise_on_error: As for every detector; nothing here raises.
            environ: The environment; that of this process if not given.
            namespace_file: The service account's namespace.
            hostname: Tells the machine's name.
        """
        super().__init__(raise_on_error)
        self._environ = os.environ if environ is None else environ
        self._namespace_file = namespace_file
        self._hostname = hostname

    def detect(self) -> Resource:
        """Return the attributes that are known; none outside Kubernetes."""
        found: dict[str, str] = {}
        for attribute, variables in _VARIABLES.items():
            values = (self._environ.get(variable, "").strip() for variable in variables)
            value = next(filter(None, values), "")
            if value:
                found[attribute] = value
        if "KUBERNETES_SERVICE_HOST" in self._environ:
            # A Pod's host name is its own name, unless its spec or its host network says otherwise;
            # the downward API knows better where it is used.
            found.setdefault(semconv.K8S_POD_NAME, self._hostname())
            namespace = self._namespace()
            if namespace:
                found.setdefault(semconv.K8S_NAMESPACE_NAME, namespace)
        return Resource({name: value for name, value in found.items() if value})

    def _namespace(self) -> str:
        try:
            return self._namespace_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return ""
