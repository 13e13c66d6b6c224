"""The DNS servers of the lab: CoreDNS as cluster DNS, as upstream, as cache on the node."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_dns.lab import addresses as plan
from otel_dns.lab import corefiles, programs
from otel_dns.lab.places import Place
from otel_dns.lab.process import LabProcess
from otel_dns.lab.session import Session


@dataclass(frozen=True, slots=True)
class DnsServer:
    """A running CoreDNS.

    Attributes:
        address: Where it answers, UDP and TCP port 53.
        place: The Pod, or the node, that it runs in.
        process: Kill, pause, resume or restart it by this.
        corefile: Its configuration; change the file and ``process.restart()`` for another.
        metrics_url: Its Prometheus metrics, for ``Lab.http_get``.
    """

    address: str
    place: Place
    process: LabProcess
    corefile: Path
    metrics_url: str

    @property
    def log(self) -> Path:
        """All its output, with one line a query."""
        return self.process.log


def write_zones(session: Session) -> Path:
    """Write the lab's zone files; returns their directory."""
    directory = session.write("zones/cluster.local.zone", corefiles.CLUSTER_ZONE).parent
    for zone, text in corefiles.OUTSIDE_ZONES.items():
        session.write(f"zones/{zone}.zone", text)
    return directory


def start(
    session: Session,
    place: Place,
    *,
    server: str,
    corefile: str,
    address: str,
    metrics_port: int = corefiles.METRICS_PORT,
    argv: Sequence[str] = (),
) -> DnsServer:
    """Start CoreDNS with a Corefile and wait until it answers.

    Args:
        session: The lab.
        place: The Pod, or the node.
        server: Names its Corefile, ``config/<server>.Corefile``.
        corefile: Its configuration.
        address: Where it answers by that.
        metrics_port: Where it shows its metrics by that.
        argv: Further arguments.

    Raises:
        ProgramMissing: There is no CoreDNS.
        ProgramFailed: It ended (a mistake in the Corefile), or was not ready in time.
    """
    path = session.write(f"{server}.Corefile", corefile)
    program = programs.find("coredns")
    session.progress(f"starting CoreDNS as {server} at {address}")
    process = place.start(
        [str(program), "-conf", str(path), *argv],
        name="coredns",
        about={
            "role": "dns",
            "address": address,
            "metrics": f"{place.address}:{metrics_port}",
        },
        ready=_says_it_is_up,
    )
    return DnsServer(
        address, place, process, path, f"http://{place.address}:{metrics_port}/metrics"
    )


def _says_it_is_up(process: LabProcess) -> bool:
    # Printed after every socket is bound. Asking a real question instead would show in its log,
    # its traces and its metrics.
    return "\nCoreDNS-" in "\n" + process.output()


def nameserver_for_pods(session: Session) -> str:
    """Whom new Pods ask: the cache on the node if it runs, else the cluster's DNS."""
    addresses = {about["address"] for about in _running(session)}
    return plan.NODE_LOCAL_DNS if plan.NODE_LOCAL_DNS in addresses else plan.CLUSTER_DNS


def metrics_addresses(session: Session) -> list[str]:
    """``host:port`` of the metrics of every DNS server that runs."""
    return [about["metrics"] for about in _running(session)]


def _running(session: Session) -> list[dict[str, str]]:
    processes = session.control.call("status")["processes"]
    return [
        each["about"]
        for each in processes
        if each["returncode"] is None and each["about"].get("role") == "dns"
    ]
