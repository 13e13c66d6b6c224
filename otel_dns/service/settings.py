"""What `otel-dns serve` can be told."""

from dataclasses import dataclass, field
from pathlib import Path

from otel_dns.join import JoinSettings

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class DnstapTls:
    """Certificates of the dnstap addresses that begin with ``tls:``; files in PEM."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """Whose clients are let in; None: any client's."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Settings of one processor; addresses are ``host:port`` or ``unix:/path``."""

    otlp_listen: str = "127.0.0.1:4417"
    http_listen: str = "127.0.0.1:9412"
    dnstap_listen: tuple[str, ...] = ()
    """Where dnstap is taken: ``host:port``, ``tls:host:port`` or ``unix:/path``."""
    dnstap_tls: DnstapTls | None = None
    output: str = "127.0.0.1:4317"
    """OTLP/gRPC endpoint that gets all spans: Jaeger, or the Collector's second receiver."""
    coredns_services: frozenset[str] = frozenset({"coredns"})
    """``service.name`` of CoreDNS's spans: what its trace plugin's ``service`` says."""
    join: JoinSettings = field(default_factory=JoinSettings)
    max_request_bytes: int = 64 * MIB
    """Of an OTLP request."""
    max_zipkin_bytes: int = 20 * MIB
    """Of a Zipkin POST, unpacked; the Collector's own limit."""
    max_input_bytes: int = 128 * MIB
    """Received and not yet taken by the pipeline; beyond it senders are told to come again."""
    max_output_bytes: int = 128 * MIB
    """Sent on by the pipeline and not yet taken by the output."""
    give_up_after_s: float = 300.0
    """So long is one batch tried on an output that does not answer."""
    metrics_output: str | None = None
    """Where metrics are sent as OTLP, beside ``/metrics``: ``host:port`` or an ``http://`` URL."""
    metrics_interval_s: float = 60.0
    shutdown_s: float = 10.0
    """At the end, so long may the output take for what is left."""
