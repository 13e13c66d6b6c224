"""A real DNS test bed on this machine: programs, network, faults.

Pods, DNS servers and telemetry programs in network namespaces, as root or as an ordinary user::

    from otel_dns.lab import Lab

    with Lab() as lab:
        lab.upstream_dns()
        lab.cluster_dns(zipkin=None)
        pod = lab.pod("shop-7d4b", namespace="shop")
        print(pod.run(["getent", "hosts", "www.example.org"], check=True).stdout)
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otel_dns.lab.errors import LabError, LabGone, LabUnavailable, ProgramFailed
    from otel_dns.lab.lab import Lab, WebServer
    from otel_dns.lab.launch import available
    from otel_dns.lab.places import Node, Place, Pod
    from otel_dns.lab.process import LabProcess
    from otel_dns.lab.way import Rule
    from otel_dns.lab.ways import Way

__all__ = [
    "Lab",
    "LabError",
    "LabGone",
    "LabProcess",
    "LabUnavailable",
    "Node",
    "Place",
    "Pod",
    "ProgramFailed",
    "Rule",
    "Way",
    "WebServer",
    "available",
]

# Loaded when asked for: the programs that run inside the lab import this package too, and each
# would pay for all of it.
_MODULES: Final = {
    "Lab": "lab",
    "LabError": "errors",
    "LabGone": "errors",
    "LabProcess": "process",
    "LabUnavailable": "errors",
    "Node": "places",
    "Place": "places",
    "Pod": "places",
    "ProgramFailed": "errors",
    "Rule": "way",
    "Way": "ways",
    "WebServer": "lab",
    "available": "launch",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
