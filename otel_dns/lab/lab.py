"""The lab itself: one object that starts it, starts things in it, and takes it all down again."""

import contextlib
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from otel_dns.lab import addresses as plan
from otel_dns.lab import (
    capture_files,
    corefiles,
    dns,
    environment,
    home,
    launch,
    reach,
    telemetry,
    ways,
)
from otel_dns.lab.capture_files import Capture
from otel_dns.lab.control import Control
from otel_dns.lab.dns import DnsServer
from otel_dns.lab.errors import LabError
from otel_dns.lab.places import Node, Place, Pod
from otel_dns.lab.process import LabProcess
from otel_dns.lab.session import Progress, Session
from otel_dns.lab.telemetry import Collector, Jaeger, Processor, Prometheus
from otel_dns.lab.way import Rule
from otel_dns.lab.ways import Way

_DOWN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class WebServer:
    """A Pod that answers HTTP on port 80 as ``web`` (in namespace shop) and ``www.example.org``."""

    pod: Pod
    process: LabProcess


class Lab:
    """A DNS test bed on this machine, for the length of a ``with`` block.

    ::

        with Lab() as lab:
            lab.upstream_dns()
            lab.cluster_dns(zipkin=None)
            pod = lab.pod("shop-7d4b", namespace="shop")
            print(pod.run(["getent", "hosts", "db"], check=True).stdout)

    Afterwards nothing of it is left, no process, namespace, mount or file; also when the program
    that made it is killed. Its methods may be called from several threads.
    """

    def __init__(
        self,
        *,
        userns: bool | None = None,
        directory: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Describe a lab; ``with`` or ``start`` makes it.

        Args:
            userns: Make it in a user namespace, as for an ordinary user; ``None``: when needed.
            directory: Where logs and configuration go, to stay there; ``None``: a private directory
                that goes away with the lab.
            progress: Called with a short line whenever something that takes time begins.
        """
        self._userns = userns
        self._wanted_directory = directory
        self._progress: Progress = progress or _silent
        self._keeper: launch.Keeper | None = None
        self._session: Session | None = None
        self._attached: home.LabHome | None = None

    # -- life ----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, *, name: str | None = None, detached: bool = False) -> None:
        """Make the lab's namespaces and network; better use ``with``.

        Args:
            name: Its name, for ``attach`` and the command line; a fresh one when ``None``.
            detached: It outlives this process, until ``stop`` or ``otel-dns lab down``.

        Raises:
            LabUnavailable: This machine gives none.
            LabError: It has been started, or one of this name runs.
        """
        if self._session is not None:
            raise LabError("this lab has been started already")
        self._keeper = launch.start_keeper(
            name=name, userns=self._userns, files=self._wanted_directory, detached=detached
        )
        self._session = Session(
            self._keeper.home.name,
            Control(self._keeper.home.control_socket),
            self._keeper.files,
            self._progress,
        )

    @classmethod
    def attach(cls, name: str, *, progress: Progress | None = None) -> "Lab":
        """A running lab, by its name.

        Raises:
            LabError: None of that name runs.
        """
        lab = cls(progress=progress)
        found = home.find(name)
        control = Control(found.control_socket)
        directory = Path(control.call("status")["files"])
        lab._session = Session(name, control, directory, lab._progress)
        lab._attached = found
        return lab

    def stop(self) -> None:
        """End every program, the last started first (SIGTERM, then SIGKILL), and remove the lab."""
        session, self._session = self._session, None
        attached, self._attached = self._attached, None
        keeper, self._keeper = self._keeper, None
        try:
            if session is not None:
                with contextlib.suppress(LabError, TimeoutError):
                    session.control.call("down", timeout=_DOWN_SECONDS)
        finally:
            if keeper is not None:
                keeper.end()
            if attached is not None:
                launch.await_end(attached)

    @property
    def session(self) -> Session:
        """What handles on the lab share.

        Raises:
            LabError: It is not running.
        """
        if self._session is None:
            raise LabError("this lab is not running; use it as `with Lab() as lab:`")
        return self._session

    @property
    def name(self) -> str:
        """Its name, as ``otel-dns lab exec --name`` takes it."""
        return self.session.name

    @property
    def directory(self) -> Path:
        """Logs in ``logs/``, configuration in ``config/``, Pods' resolver files in ``pods/``."""
        return self.session.directory

    def status(self) -> Mapping[str, Any]:
        """Pods and processes, as JSON has them."""
        return self.session.control.call("status")

    # -- places --------------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        """The node, where telemetry programs run; address 10.244.0.1."""
        return Node(self.session)

    def pod(
        self,
        name: str,
        *,
        namespace: str = "default",
        node: str = "node-a",
        container: str = "app",
        addresses: Sequence[str] = (),
        nameservers: Sequence[str] | None = None,
        search: Sequence[str] | None = None,
        options: Sequence[str] = ("ndots:5",),
    ) -> Pod:
        """Make a Pod.

        Args:
            name: Its name, also its host name.
            namespace: Its Kubernetes namespace; sets the first search domain.
            node: The name of the node it is said to run on.
            container: What CONTAINER_NAME says.
            addresses: Its own, and further ones such as ClusterIPs; empty, or an empty string in
                the first place: the next free one of 10.244.0.0/16.
            nameservers: For its resolv.conf; ``None``: the cache on the node if one was started,
                else the cluster's DNS.
            search: For its resolv.conf; ``None``: the three domains that Kubernetes gives.
            options: For its resolv.conf.

        Raises:
            LabError: A name is no RFC 1123 label, a Pod of this name is in the namespace already,
                or an address is taken.
        """
        session = self.session
        if nameservers is None:
            nameservers = [dns.nameserver_for_pods(session)]
        if search is None:
            search = [f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
        record = session.control.call(
            "pod",
            name=name,
            namespace=namespace,
            node=node,
            addresses=list(addresses),
            nameservers=list(nameservers),
            search=list(search),
            options=list(options),
        )
        return Pod(session, record, container)

    def pods(self) -> list[Pod]:
        """Every Pod, in the order they were made."""
        return [Pod(self.session, record) for record in self.status()["pods"]]

    # -- DNS -----------------------------------------------------------------------------------

    def cluster_dns(
        self,
        corefile: str | None = None,
        *,
        name: str = "coredns-0",
        address: str = plan.CLUSTER_DNS,
        zipkin: str | None = corefiles.ZIPKIN,
        every: int = 1,
        dnstap: str | None = None,
        cache: int = 30,
        delays: Mapping[str, str] | None = None,
        extra: str = "",
    ) -> DnsServer:
        """Start CoreDNS as the cluster's DNS server, in a Pod of kube-system.

        Args:
            corefile: Its whole configuration; ``None``: ``corefiles.cluster`` with what follows.
            name: The Pod's name.
            address: Where it answers; the Pod has this address beside its own.
            zipkin: Where its spans go; ``None``: no tracing. Nobody need listen there yet.
            every: One query of so many is traced.
            dnstap: Where queries are tapped to, e.g. ``capture.dnstap``; ``None``: nowhere.
            cache: Seconds an answer may be kept; 0: no cache.
            delays: Zones whose queries take a time in plugin ``erratic``:
                ``{"slow.cluster.local": "50ms"}``.
            extra: Lines for the main server block.

        Raises:
            ProgramMissing: There is no CoreDNS.
            ProgramFailed: It did not start.
        """
        zones = dns.write_zones(self.session)
        text = corefile or corefiles.cluster(
            zones,
            zipkin=zipkin,
            every=every,
            dnstap=dnstap,
            cache=cache,
            delays=delays,
            extra=extra,
        )
        return self._dns_pod(name, "kube-system", address, text, first_own=True)

    def upstream_dns(
        self,
        corefile: str | None = None,
        *,
        name: str = "upstream-0",
        address: str = plan.UPSTREAM_DNS,
        delay: str = "50ms",
        drop: int = 0,
        truncate: int = 0,
        zipkin: str | None = None,
        dnstap: str | None = None,
        extra: str = "",
    ) -> DnsServer:
        """Start CoreDNS as the server outside: example.org, example.net, and ``slow.example``.

        Args:
            corefile: Its whole configuration; ``None``: ``corefiles.upstream`` with what follows.
            name: The Pod's name.
            address: Where it answers.
            delay: How late answers under ``slow.example`` are.
            drop: There, one query of so many stays without an answer; 0: none.
            truncate: There, one answer of so many is truncated; 0: none.
            zipkin: As for ``cluster_dns``.
            dnstap: As for ``cluster_dns``.
            extra: Lines for the server block of example.org and example.net.

        Raises:
            ProgramMissing: There is no CoreDNS.
            ProgramFailed: It did not start.
        """
        zones = dns.write_zones(self.session)
        text = corefile or corefiles.upstream(
            zones,
            delay=delay,
            drop=drop,
            truncate=truncate,
            zipkin=zipkin,
            dnstap=dnstap,
            extra=extra,
        )
        return self._dns_pod(name, "outside", address, text, first_own=False)

    def node_local_dns(
        self,
        corefile: str | None = None,
        *,
        zipkin: str | None = None,
        every: int = 1,
        extra: str = "",
    ) -> DnsServer:
        """Start a cache on the node, at 169.254.20.10; Pods made from now on ask it.

        Args:
            corefile: Its whole configuration; ``None``: ``corefiles.node_local``.
            zipkin: As for ``cluster_dns``; off, as in the stock cache.
            every: As for ``cluster_dns``.
            extra: Lines for its server blocks.

        Raises:
            ProgramMissing: There is no CoreDNS.
            ProgramFailed: It did not start.
        """
        return dns.start(
            self.session,
            self.node,
            server="node-local-dns",
            corefile=corefile or corefiles.node_local(zipkin=zipkin, every=every, extra=extra),
            address=plan.NODE_LOCAL_DNS,
            metrics_port=corefiles.NODE_LOCAL_METRICS_PORT,
        )

    def _dns_pod(
        self, name: str, namespace: str, address: str, corefile: str, *, first_own: bool
    ) -> DnsServer:
        # A cluster's DNS answers at a ClusterIP, and asks its upstream from its Pod's address.
        pod = self.pod(
            name,
            namespace=namespace,
            container="coredns",
            addresses=["", address] if first_own else [address],
            nameservers=[plan.UPSTREAM_DNS],
            search=[],
            options=[],
        )
        return dns.start(self.session, pod, server=name, corefile=corefile, address=address)

    # -- telemetry -----------------------------------------------------------------------------

    def collector(
        self, config: Path, *, env: Mapping[str, str] | None = None, name: str = "otelcol"
    ) -> Collector:
        """Start the Collector on the node and wait until it is ready.

        Args:
            config: Its configuration. The address variables of collector-config/ are set to the
                node's address.
            env: Further variables.
            name: The process's name.

        Raises:
            ProgramMissing: There is no Collector.
            ProgramFailed: It did not start.
        """
        return telemetry.start_collector(self.session, config, env=env, name=name)

    def jaeger(self, config: Path | None = None, *, env: Mapping[str, str] | None = None) -> Jaeger:
        """Start Jaeger on the node, with its traces in memory; errors as for ``collector``.

        Args:
            config: Its configuration; ``None``: collector-config/jaeger-memory.yaml.
            env: Further variables.
        """
        return telemetry.start_jaeger(self.session, config, env=env)

    def prometheus(self, config: Path | None = None, *, args: Sequence[str] = ()) -> Prometheus:
        """Start Prometheus on the node; errors as for ``collector``.

        Args:
            config: Its configuration; ``None``: it scrapes the DNS servers that run by now and the
                processor, every second.
            args: Further arguments.
        """
        return telemetry.start_prometheus(self.session, config, args=args)

    def processor(
        self,
        args: Sequence[str] = (),
        *,
        otlp_listen: str = telemetry.PROCESSOR_OTLP,
        http_listen: str = telemetry.PROCESSOR_HTTP,
        output: str = telemetry.JAEGER_OTLP,
        env: Mapping[str, str] | None = None,
        name: str = "otel-dns",
    ) -> Processor:
        """Start ``otel-dns serve`` on the node and wait until it is ready.

        Args:
            args: Further arguments of ``otel-dns serve``.
            otlp_listen: Where it takes OTLP.
            http_listen: Where it takes Zipkin, and answers ``/readyz`` and ``/metrics``.
            output: Where it sends spans.
            env: Further variables.
            name: The process's name.

        Raises:
            ProgramFailed: It did not start.
        """
        return telemetry.start_processor(
            self.session,
            args,
            otlp_listen=otlp_listen,
            http_listen=http_listen,
            output=output,
            env=env,
            name=name,
        )

    def capture(
        self,
        name: str = "capture",
        *,
        directory: Path | None = None,
        otlp_port: int | None = 4317,
        zipkin_port: int | None = 9411,
        dnstap_port: int | None = 6000,
    ) -> Capture:
        """Start a sink on the node that writes down what it is sent; see ``capture_files``.

        Args:
            name: The process's name, and the directory's.
            directory: Where the files go; ``None``: ``captures/<name>`` in the lab's directory.
            otlp_port: Where it takes OTLP over gRPC; ``None``: not at all.
            zipkin_port: Where it takes Zipkin over HTTP; ``None``: not at all.
            dnstap_port: Where it takes dnstap over TCP; ``None``: not at all.

        Raises:
            ProgramFailed: It did not start: a port is taken.
        """
        return capture_files.start(
            self.session,
            name,
            directory or self.directory / "captures" / name,
            otlp_port=otlp_port,
            zipkin_port=zipkin_port,
            dnstap_port=dnstap_port,
        )

    def way(
        self,
        place: Place,
        *,
        listen: str,
        server: str,
        source: str = "",
        rules: Sequence[Rule] = (),
    ) -> Way:
        """Open a way to a DNS server that takes a known time, and tells what it really took.

        Args:
            place: Where: the Pod that asks, or the node.
            listen: Address there on whose port 53 it is asked; an address of the Pod's own, or of
                127.0.0.0/8.
            server: Address of the DNS server.
            source: Address that the server is asked from; empty: whichever leads there.
            rules: What happens to which queries; the first that fits counts, and none is none.

        Raises:
            ProgramFailed: It did not start: the address is not there, or taken.
        """
        return ways.start(place, listen=listen, server=server, source=source, rules=rules)

    def web_server(self, name: str = "web-0", *, namespace: str = "shop") -> WebServer:
        """Start a Pod that answers every GET on port 80 with "hello from <host name>".

        ``http://web/`` from namespace shop and ``http://www.example.org/`` lead to it.

        Raises:
            ProgramFailed: It did not start.
        """
        pod = self.pod(name, namespace=namespace, addresses=["", plan.WEB, plan.OUTSIDE_WEB])
        url = f"http://{pod.address}/"
        process = pod.start(
            [sys.executable, "-P", "-m", "otel_dns.lab.hello"],
            name="hello",
            env=environment.own_source(),
            ready=lambda _: reach.answers_http(self.session, url),
        )
        return WebServer(pod, process)

    # -- from outside --------------------------------------------------------------------------

    def connect(
        self,
        host: str,
        port: int,
        *,
        kind: str = "tcp",
        pod: Pod | None = None,
        timeout: float = 60.0,
    ) -> socket.socket:
        """A socket that is connected from inside the lab, for use outside of it.

        Args:
            host: An IP address in the lab.
            port: There.
            kind: ``tcp`` or ``udp``.
            pod: Whose network it is made in; ``None``: the node's.
            timeout: Seconds, for connecting and as the socket's timeout.

        Raises:
            OSError: No connection: refused, no route, or too late.
            LabError: ``host`` is no IP address.
        """
        key = f"{pod.namespace}/{pod.name}" if pod else ""
        return reach.connect(self.session, host, port, kind=kind, pod=key, timeout=timeout)

    def http_request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> tuple[int, bytes]:
        """An HTTP exchange with a program in the lab, as (status, body); host as an IP address.

        Raises:
            OSError: No connection.
        """
        return reach.http_request(
            self.session, method, url, body=body, headers=headers, timeout=timeout
        )

    def http_get(self, url: str, *, timeout: float = 60.0) -> tuple[int, bytes]:
        """As ``http_request`` with GET."""
        return self.http_request("GET", url, timeout=timeout)

    def publish(
        self, port_inside: int, port_outside: int = 0, *, host: str = plan.NODE
    ) -> tuple[str, int]:
        """Make a TCP port in the lab reachable on this machine's loopback.

        Args:
            port_inside: The port in the lab.
            port_outside: The port on 127.0.0.1; 0: any free one.
            host: The address in the lab.

        Returns:
            Host and port outside.

        Raises:
            OSError: The port outside is taken.
        """
        return reach.publish(self.session, port_inside, host=host, port_outside=port_outside)


def _silent(_line: str) -> None:
    return None
