"""TLS and mTLS between the processor and real Collectors, on both sides of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.collector.conftest import Collector, Front, Neighbours
from tests.service.support import Backend, Running, balanced
from tests.support.otlp import group, send, span
from tests.support.waiting import eventually


class Authority:
    """Issues certificates, as files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._authority = trustme.CA()
        self.ca = str(directory / "ca")
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate for ``name``, and its key."""
        issued = self._authority.issue_cert(name)
        certificate, key = self._directory / name, self._directory / f"{name}.key"
        certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return str(certificate), str(key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "stranger")


def listening(authority: Authority, *, mutual: bool) -> dict[str, str]:
    """What the processor's listener shows, and whom it lets in."""
    certificate, key = authority.issue("localhost")
    known = {"client_ca": authority.ca} if mutual else {}
    return {"certificate": certificate, "key": key, **known}


def sending(
    to: Neighbours, trusted: Authority, shown: tuple[str, str] | None = None
) -> tuple[str, str]:
    """What a Collector's exporter trusts, and what it shows of itself."""
    certificate = f", cert_file: {shown[0]}, key_file: {shown[1]}" if shown else ""
    tls = f"insecure: false, server_name_override: localhost, ca_file: {trusted.ca}{certificate}"
    return (
        f"yaml:exporters::{{exporter}}::tls: {{{tls}}}",
        f"yaml:exporters::otlp_http/otel_dns::endpoint: https://{to.otel_dns}",
    )


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_a_span_goes_through_over_tls_on_both_sides(
    front: Front,
    collector: Callable[..., Collector],
    neighbours: Neighbours,
    authority: Authority,
    mutual: bool,
) -> None:
    certificate, key = authority.issue("localhost")
    known = f", client_ca_file: {authority.ca}" if mutual else ""
    shown = authority.issue("client") if mutual else None
    with Backend() as backend:
        behind = collector(
            "simple.yaml",
            f"yaml:exporters::otlp_grpc/otel_dns::endpoint: {backend.address}",
            "yaml:receivers::otlp::protocols::grpc::tls:"
            f" {{cert_file: {certificate}, key_file: {key}{known}}}",
        )
        own = dict(zip(("certificate", "key"), shown or (), strict=False))
        before, processor = front(
            behind.otlp,
            *sending(neighbours, authority, shown),
            **{
                "receivers__{receiver}__tls": listening(authority, mutual=mutual),
                "outputs__0__tls": {"ca": authority.ca, "server_name": "localhost", **own},
            },
        )
        send(before.otlp, group("shop", {"http": [span("secret", 1)]}))
        eventually(lambda: backend.names == ["secret"], "the span")
        balanced(processor)


def test_a_collector_that_shows_no_certificate_is_not_let_in(
    front: Front, neighbours: Neighbours, authority: Authority, tmp_path: Path
) -> None:
    with Backend() as backend:
        listen = {"receivers__{receiver}__tls": listening(authority, mutual=True)}
        before, processor = front(backend.address, *sending(neighbours, authority), **listen)
        send(before.otlp, group("shop", {"http": [span("nameless", 1)]}))
        eventually(lambda: b"Will retry" in log(tmp_path), "a failure, not for good")
        eventually(lambda: not_secured(processor), "counted here")
        assert not processor.service.ledger().received
        assert not before.counted("exporter_sent_spans")


def test_a_collector_sends_nothing_to_a_processor_that_nobody_vouches_for(
    front: Front, neighbours: Neighbours, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    with Backend() as backend:
        listen = {"receivers__{receiver}__tls": listening(stranger, mutual=False)}
        before, processor = front(backend.address, *sending(neighbours, authority), **listen)
        send(before.otlp, group("shop", {"http": [span("careful", 1)]}))
        eventually(lambda: b"unknown authority" in log(tmp_path), "its complaint")
        eventually(lambda: not_secured(processor), "counted here")
        assert not processor.service.ledger().received
        assert not before.counted("exporter_sent_spans")


def log(directory: Path) -> bytes:
    return (directory / "collector.log").read_bytes()


def not_secured(processor: Running) -> int:
    """How many connections came to no TLS, at whichever listener."""
    return sum(processor.count(f"{one}_connections_not_secured") for one in ("otlp", "http"))
