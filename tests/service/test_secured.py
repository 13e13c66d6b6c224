"""TLS of the listeners: certificates that change under way, and handshakes that never end."""

import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
import trustme

from otel_dns.service import secrets
from otel_dns.service.configuration.settings import Limits, ServerTls
from otel_dns.service.counts import Counts
from otel_dns.service.receivers.listening import Listening, listening_socket
from otel_dns.service.receivers.otlp_receiver import HEALTH
from otel_dns.wire.frame_streams import (
    DNSTAP_CONTENT_TYPE,
    Control,
    ControlType,
    encode_control,
)
from tests.service.support import Backend, Running, serving
from tests.service.test_limits import PREFACE, connect, ended
from tests.support.waiting import eventually

GREETINGS = {
    "otlp": PREFACE,
    "http": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "dnstap": encode_control(Control(ControlType.READY, (DNSTAP_CONTENT_TYPE,))),
}
"""By listener, what it answers."""


class Files:
    """A listener's certificate, key and clients' CA, as files that are written anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.settings = {
            name: str(directory / name) for name in ("certificate", "key", "client_ca")
        }

    def write(self, authority: trustme.CA, clients: trustme.CA | None = None) -> None:
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(self._directory / "key")
        (self._directory / "certificate").write_bytes(
            b"".join(one.bytes() for one in issued.cert_chain_pems)
        )
        (clients or authority).cert_pem.write_to_path(self._directory / "client_ca")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextmanager
def secured(files: Files, **limits: object) -> Iterator[tuple[Running, dict[str, str]]]:
    """A processor with TLS everywhere, and where it listens."""
    keys = {f"receivers__{listener}__tls": files.settings for listener in GREETINGS}
    listen = ["tls:127.0.0.1:0"]
    with (
        Backend() as backend,
        serving(backend.address, receivers__dnstap__listen=listen, **keys, **limits) as running,
    ):
        dnstap = running.service._dnstap.addresses[0].removeprefix("tls:")
        http = running.http.removeprefix("http://")
        yield running, {"otlp": running.otlp, "http": http, "dnstap": dnstap}


def client_of(authority: trustme.CA) -> ssl.SSLContext:
    """A client that the authority vouches for, and that trusts nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    authority.configure_trust(context)
    authority.issue_cert("client").configure_cert(context)
    return context


def knows(listener: str, address: str, context: ssl.SSLContext) -> bool:
    """Whether both sides accept each other: what the client says is answered."""
    return talked(listener, address, context) is not None


class Talk(NamedTuple):
    """What there was to a connection that was answered."""

    resumed: bool
    session: ssl.SSLSession | None


def talked(
    listener: str, address: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Talk | None:
    """Talk to a listener, perhaps going on with a session; None: no answer."""
    try:
        with context.wrap_socket(
            connect(address), server_hostname="localhost", session=session
        ) as connection:
            connection.sendall(GREETINGS[listener])
            answered = connection.recv(1) != b""
            return Talk(bool(connection.session_reused), connection.session) if answered else None
    except OSError:
        return None


@pytest.mark.parametrize("listener", GREETINGS)
def test_new_certificates_are_taken_and_the_old_forgotten(files: Files, listener: str) -> None:
    before, after = trustme.CA(), trustme.CA()
    files.write(before)
    with secured(files) as (_, addresses):
        address = addresses[listener]
        assert knows(listener, address, client_of(before))
        assert not knows(listener, address, client_of(after))
        Path(files.settings["key"]).unlink()  # in the middle of being replaced
        assert knows(listener, address, client_of(before))
        files.write(after)
        eventually(lambda: knows(listener, address, client_of(after)), "the new ones")
        assert not knows(listener, address, client_of(before))
        # One side alone: who knows the server, but is not known to it.
        stranger = client_of(before)
        after.configure_trust(stranger)
        assert not knows(listener, address, stranger)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("listener", GREETINGS)
def test_a_session_does_not_outlive_the_authority_that_let_it_in(
    files: Files, listener: str, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_LOOK_EVERY_S", 0.0)
    server, withdrawn, after = trustme.CA(), trustme.CA(), trustme.CA()
    files.write(server, clients=withdrawn)
    with secured(files) as (_, addresses):
        address = addresses[listener]
        client, other = client_of(withdrawn), client_of(after)
        for context in (client, other):
            server.configure_trust(context)
            context.maximum_version = version
        assert (first := talked(listener, address, client))
        assert (second := talked(listener, address, client, first.session))
        assert second.resumed
        files.write(server, clients=after)
        eventually(lambda: talked(listener, address, other), "the other authority's clients")
        assert not talked(listener, address, client, second.session)


def test_new_ones_that_cannot_be_read_yet_are_tried_again(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = trustme.CA(), trustme.CA()
    files.write(before)
    monkeypatch.setattr(secrets, "_LOOK_EVERY_S", 0.0)
    context = secrets.server_context(ServerTls(**files.settings))
    first = used(context)
    files.write(after)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(secrets, "context_of", _no_descriptors)
        assert [used(context) for _ in range(3)] == [first] * 3
    assert caplog.text.count("stays in use") == 1
    assert used(context) is not first  # of the files nothing has changed since


def used(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context that a connection would be made with."""
    return context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True).context


def _no_descriptors(_: object) -> None:
    raise secrets.SecretError("too many open files")


def test_what_comes_to_no_tls_is_counted(files: Files) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    files.write(authority)
    unknown = client_of(stranger)
    authority.configure_trust(unknown)
    nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(nameless)
    with secured(files) as (running, addresses):
        for listener, count in (
            ("otlp", "otlp_connections_not_secured"),
            ("http", "http_connections_not_secured"),
            ("dnstap", "dnstap_senders_not_secured"),
        ):
            address = addresses[listener]
            for context in (unknown, nameless, client_of(stranger)):
                assert not knows(listener, address, context)
            with connect(address) as plain, connect(address):  # and one that says nothing
                plain.sendall(GREETINGS[listener])
                assert ended(plain)
            running.counted(count, 5)
        known = authority.issue_cert("client")
        credentials = grpc.ssl_channel_credentials(
            authority.cert_pem.bytes(),
            known.private_key_pem.bytes(),
            known.cert_chain_pems[0].bytes(),
        )
        port = addresses["otlp"].rpartition(":")[2]
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            channel.unary_unary(HEALTH)(b"", timeout=60)
            with connect(addresses["otlp"]):  # of whom it is not known yet
                gauge = "otlp_connections"
                eventually(lambda: running.service.gauges()[gauge] == 2, "both seen")
                assert running.count("otlp_connections_not_secured") == 5
            running.counted("otlp_connections_not_secured", 6)
        eventually(lambda: not running.service.gauges()[gauge], "both gone")
        assert running.count("otlp_connections_not_secured") == 6


@pytest.mark.parametrize("listener", ["http", "dnstap"])
def test_handshakes_that_never_end(files: Files, listener: str) -> None:
    files.write(trustme.CA())
    names = {"http": "http_connections", "dnstap": "dnstap_senders"}
    with secured(files, receivers__limits__connections=3) as (running, addresses):
        silent = [connect(addresses[listener]) for _ in range(5)]
        eventually(lambda: running.count(f"{names[listener]}_turned_away") == 2, "two are too many")
        for one in silent:
            one.close()
        eventually(lambda: running.count(f"{names[listener]}_not_secured") == 3, "three counted")


def test_however_many_are_too_many_the_event_loop_has_its_turn() -> None:
    counts, at_once = Counts(), 80
    opened = listening_socket("127.0.0.1:0")
    opened.listen(at_once + 1)
    with Listening(opened, Limits(connections=1), counts, "senders") as listening:
        listening.setblocking(False)
        address = listening.getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(at_once + 1):
                stack.enter_context(socket.create_connection(address))
            stack.enter_context(listening.accept()[0])
            turns = 0
            while counts["senders_turned_away"] < at_once:
                with pytest.raises(BlockingIOError):
                    listening.accept()
                turns += 1
    assert turns > 1


def test_a_handshake_has_its_time(files: Files) -> None:
    files.write(trustme.CA())
    with secured(files, receivers__limits__read="1s") as (running, addresses):
        with connect(addresses["http"]) as silent, connect(addresses["http"]) as halting:
            halting.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
            assert ended(silent)
            assert ended(halting)
        eventually(lambda: running.count("http_connections_not_secured") == 2, "both counted")
