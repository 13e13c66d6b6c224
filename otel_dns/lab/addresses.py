"""The lab's address plan; the customary addresses of a Kubernetes cluster."""

from typing import Final

NODE: Final = "10.244.0.1"
"""The node: telemetry programs listen here, and it is every Pod's gateway."""
POD_RANGE: Final = "10.244.0.0/16"
"""Pods' own addresses."""
SERVICE_RANGE: Final = "10.96.0.0/12"
"""ClusterIPs; in the lab they are plain second addresses of Pods."""
OUTSIDE_RANGE: Final = "192.0.2.0/24"
"""What is outside the cluster (documentation addresses, RFC 5737)."""
RANGES: Final = (POD_RANGE, SERVICE_RANGE, OUTSIDE_RANGE)

CLUSTER_DNS: Final = "10.96.0.10"
UPSTREAM_DNS: Final = "192.0.2.53"
NODE_LOCAL_DNS: Final = "169.254.20.10"
DATABASE: Final = "10.96.0.20"
PAYMENTS: Final = "10.96.0.30"
WEB: Final = "10.96.0.80"
OUTSIDE_WEB: Final = "192.0.2.80"
