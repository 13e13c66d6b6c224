"""dnstap from the real CoreDNS, over every transport, and over a restart of the receiver."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest
import trustme

from otel_dns.model import Message
from otel_dns.service.configuration.settings import ServerTls
from otel_dns.service.receivers.dnstap_receiver import DnstapReceiver
from otel_dns.service.sorting import Incoming
from tests.support.processes import free_addresses
from tests.support.programs import require
from tests.support.waiting import eventually

COREFILE = """\
.:{port} {{
    bind 127.0.0.1
    dnstap {socket} full {{
        identity dns-7
        extra "- {{>id}} {{port}}"
        {more}
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


@contextmanager
def coredns(directory: Path, socket: str, more: str = "") -> Iterator[int]:
    """The real CoreDNS on loopback; its port."""
    port = int(free_addresses(1)[0].rpartition(":")[2])
    (directory / "Corefile").write_text(COREFILE.format(port=port, socket=socket, more=more))
    command = [require("coredns"), "-conf", directory / "Corefile"]
    with (
        (directory / "coredns.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            eventually(lambda: ask(port), "an answer of CoreDNS")
            yield port
        finally:
            process.terminate()


def ask(port: int) -> int | None:
    """Ask once; the query's id, or nothing while CoreDNS does not answer."""
    query = dns.message.make_query("Web.Shop.", "AAAA")
    try:
        dns.query.udp(query, "127.0.0.1", port=port, timeout=1)
    except (OSError, dns.exception.Timeout):
        return None
    return query.id


class Taken:
    """What a receiver handed on."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def offer(self, incoming: Incoming, size: int, timeout_s: float) -> bool:
        self.messages += incoming.messages
        return True

    def of(self, number: int) -> list[Message]:
        return [one for one in self.messages if one.dns_id == number]


@pytest.mark.parametrize("transport", ["tcp", "tls", "unix"])
def test_messages_come_and_come_again_after_a_restart(transport: str, tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = tmp_path / "server.pem"
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    tls = ServerTls(certificate=str(certificate), key=str(certificate))
    path = str(tmp_path / "dnstap.sock")
    address = path if transport == "unix" else free_addresses(1)[0]
    listen = {"tcp": address, "tls": f"tls:{address}", "unix": f"unix:{path}"}[transport]
    socket = f"{transport}://{address}"
    taken = Taken()

    first = DnstapReceiver([listen], taken.offer, tls)
    first.start()
    with coredns(tmp_path, socket, "skipverify" if transport == "tls" else "") as port:
        with closing(_Stop(first)):
            number = eventually(lambda: ask(port), "an answer")
            query, response = eventually(
                lambda: found if len(found := taken.of(number)) == 2 else None, "both messages"
            )
        assert (query.kind, response.kind, query.server) == ("CQ", "CR", "dns-7")
        assert (query.asked, query.name, query.type) == ("Web.Shop.", "web.shop.", "AAAA")
        assert response.rcode == "NXDOMAIN"
        assert response.query_time_ns == query.time_ns < response.time_ns
        assert query.client_port == response.client_port > 0

        second = DnstapReceiver([listen], taken.offer, tls)
        second.start()
        with closing(_Stop(second)):
            # CoreDNS finds out when a write fails, and dials anew.
            eventually(
                lambda: (again := ask(port)) is not None and _come(taken, again),
                "messages after the restart",
            )


def _come(taken: Taken, number: int) -> bool:
    try:
        return bool(eventually(lambda: taken.of(number), "a message", within=1.5))
    except AssertionError:
        return False


class _Stop:
    def __init__(self, receiver: DnstapReceiver) -> None:
        self._receiver = receiver

    def close(self) -> None:
        self._receiver.stop()
