"""A small cluster with three troubles at once, for whoever wants something to find.

- namespace ``shop``: a storefront asks for external names without a trailing dot (search waste);
- namespace ``billing``: asks a partner's names, whose server answers late (slow upstream), and a
  name that does not exist, which is nobody's fault;
- node ``node-b``: its Pods ask the second CoreDNS, which gets the processor for a third of the
  time only (one bad instance); those of ``node-a`` ask the first, which is well.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from otel_dns.lab import scenarios
from otel_dns.lab.dns import DnsServer
from otel_dns.lab.errors import LabError
from otel_dns.lab.lab import Lab
from otel_dns.lab.places import Pod

SLOW_UPSTREAM: Final = "slow.example."
SECOND_DNS: Final = "10.96.0.11"
_STOPPED_S: Final = 0.04
_RUNNING_S: Final = 0.02

_APPLICATION: Final = """
import socket, sys, time
times, *names = sys.argv[1:]
for number in range(int(times)):
    for name in names:
        try:
            socket.getaddrinfo(name.replace("%", str(number)), 443, type=socket.SOCK_STREAM)
        except OSError as error:
            print(name, error)
        time.sleep(0.01)
"""


@dataclass(frozen=True, slots=True)
class Application:
    """Who asks for what."""

    pod: Pod
    service: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Troubled:
    """What was set up in the lab."""

    good: DnsServer
    bad: DnsServer
    upstream: DnsServer
    applications: Sequence[Application]

    def run(self, times: int, otlp: str, env: Mapping[str, str] | None = None) -> None:
        """Let every application make its lookups so many times, while the second CoreDNS starves.

        Args:
            times: how often each asks for each of its names; with ``%`` in it a name is another
                one each time.
            otlp: ``host:port`` that takes OTLP over gRPC.
            env: further variables.

        Raises:
            LabError: an application failed.
        """
        with starved(self.bad):
            for each in self.applications:
                done = each.pod.run(
                    scenarios.instrumented(
                        [sys.executable, "-c", _APPLICATION, str(times), *each.names]
                    ),
                    env={**scenarios.client_env(otlp, service=each.service), **(env or {})},
                    timeout=400,
                )
                if done.returncode:
                    raise LabError(f"{each.service} failed:\n{done.stdout}{done.stderr}")


def set_up(lab: Lab, zipkin: str, *, upstream_delay: str = "120ms") -> Troubled:
    """Start the DNS servers and make the Pods.

    Args:
        lab: a running lab without DNS servers.
        zipkin: where both CoreDNS send their spans.
        upstream_delay: how late names under ``slow.example`` are answered.

    Raises:
        ProgramMissing: there is no CoreDNS.
        ProgramFailed: it did not start.
    """
    upstream = lab.upstream_dns(delay=upstream_delay)
    good = lab.cluster_dns(name="coredns-0", zipkin=zipkin)
    bad = lab.cluster_dns(name="coredns-1", address=SECOND_DNS, zipkin=zipkin)

    def application(name: str, namespace: str, node: str, *names: str) -> Application:
        nameserver = good.address if node == "node-a" else bad.address
        pod = lab.pod(
            f"{name}-{node[-1]}", namespace=namespace, node=node, nameservers=[nameserver]
        )
        return Application(pod, name, names)

    shop = ("db", "www.example.org", "cdn.example.net")
    return Troubled(
        good,
        bad,
        upstream,
        (
            application("storefront", "shop", "node-a", *shop),
            application("storefront", "shop", "node-b", *shop),
            application(
                "invoices", "billing", "node-a",
                "db.shop", f"partner%.{SLOW_UPSTREAM}", "nowhere.example.org.",
            ),
        ),
    )  # fmt: skip


@contextlib.contextmanager
def starved(server: DnsServer) -> Iterator[None]:
    """Stop and continue a server in turns, as a scheduler does that has no time for it."""
    ended = threading.Event()

    def starve() -> None:
        while not ended.is_set():
            server.process.pause()
            ended.wait(_STOPPED_S)
            server.process.resume()
            ended.wait(_RUNNING_S)

    thread = threading.Thread(target=starve, name=f"starve-{server.address}")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
