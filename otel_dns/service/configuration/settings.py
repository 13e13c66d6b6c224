"""What `otel-dns serve` can be told: the shape of its configuration file, with every default.

One class a section, one field a key; :mod:`otel_dns.service.configuration.reading` reads a file
into it. A part of the service takes its own section. Times are :class:`Duration`, sizes
:class:`Size`.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from otel_dns.join import JoinSettings
from otel_dns.service.configuration.quantities import (
    Address,
    DnstapAddress,
    Duration,
    Endpoint,
    Network,
    Size,
)

MIB = 1 << 20
_Positive = Annotated[int, Meta(ge=1)]
_Path = Annotated[str, Meta(min_length=1)]
_T = TypeVar("_T")


def _default(value: _T) -> _T:
    """Give a field a default that the schema cannot write by itself (configuration.schema does)."""
    return msgspec.field(default_factory=lambda: value)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the configuration: unknown keys are errors."""


# -- receivers --------------------------------------------------------------------------------


class ServerTls(Section, frozen=True):
    """Certificates of a listener; files in PEM. They are read anew when they change."""

    certificate: _Path
    key: _Path
    client_ca: _Path | None = None
    """Whose clients are let in; without it, any client's."""


class Limits(Section, frozen=True):
    """Of connections, on each of the listeners alike, so that no sender takes more than his share.

    dnstap's connections stay open while nothing is sent: the times do not hold for them.
    """

    connections: _Positive = 1024
    """Of one listener."""
    connections_of_a_peer: _Positive = 256
    """From one address: behind some of them are many senders."""
    streams: _Positive = 16
    """Requests under way on one gRPC connection; others wait in their sender."""
    headers: Size = _default(Size(16 << 10))
    """Of a request, bytes in all."""
    read: Duration = _default(Duration(30))
    """A request must have come within, once its headers are there; and these too."""
    idle: Duration = _default(Duration(300))
    """After so long without a request a connection is closed."""


class OtlpReceiverSettings(Section, frozen=True):
    """OTLP over gRPC: traces and logs."""

    listen: Address = _default(Address("127.0.0.1:4417"))
    tls: ServerTls | None = None
    token_file: _Path | None = None
    """Senders must show the token in this file (``authorization: Bearer ...``)."""
    max_request: Size = _default(Size(64 * MIB))
    """Of a request, unpacked; a larger one is refused."""


class HttpReceiverSettings(Section, frozen=True):
    """HTTP: Zipkin v2, OTLP/HTTP, health and metrics."""

    listen: Address = _default(Address("127.0.0.1:9412"))
    tls: ServerTls | None = None
    token_file: _Path | None = None
    """Senders must show the token in this file; health checks need none."""
    max_request: Size = _default(Size(20 * MIB))
    """Of a request, unpacked; a larger one is refused. The Collector's own limit."""


class DnstapReceiverSettings(Section, frozen=True):
    """dnstap over frame streams."""

    listen: tuple[DnstapAddress, ...] = ()
    tls: ServerTls | None = None
    """Of the addresses that begin with ``tls:``."""


class Receivers(Section, frozen=True):
    """Where evidence comes in."""

    limits: Limits = _default(Limits())
    otlp: OtlpReceiverSettings = _default(OtlpReceiverSettings())
    http: HttpReceiverSettings = _default(HttpReceiverSettings())
    dnstap: DnstapReceiverSettings = _default(DnstapReceiverSettings())
    coredns_services: frozenset[str] = frozenset({"coredns"})
    """``service.name`` of CoreDNS's spans: what its trace plugin's ``service`` says."""
    max_waiting: Size = _default(Size(128 * MIB))
    """Received and not yet looked at; beyond it senders are told to come again."""


# -- the join ---------------------------------------------------------------------------------


class JoinSection(Section, frozen=True):
    """How long and how much the join holds."""

    settle: Duration = _default(Duration(7))
    """A lookup waits so long for its server traces."""
    server_trace_wait: Duration = _default(Duration(60))
    """A server trace waits so long for its lookup: as long as the longest lookup may take."""
    tolerance: Duration = _default(Duration(0.002))
    """How far apart the times of two clocks that agree may be."""
    clocks: Literal["follow", "agree"] = "follow"
    """The clocks of clients and servers may differ, and are followed: until it is known by how
    much, nothing that is joined by time is sure. Or they are taken to agree, as on one machine."""
    groups: Literal["join", "leave"] = "join"
    """Server traces of lookups that nobody can tell apart: one set goes into each lookup's trace,
    or they stay in traces of their own, to which the lookups' spans link."""
    infer: bool = True
    """Whether lookups are made of server traces that no known lookup claims: of Pods that are not
    instrumented."""
    silent_after: Duration | None = _default(Duration(300))
    """A client that has sent no lookup for so long is silent: its server traces leave after
    ``settle`` already. ``null``: all wait as long."""
    relays: tuple[Network, ...] = ()
    """Addresses and networks of DNS servers that ask others, such as the nodes' caches: never
    silent. Most are found out; list them where ``infer`` is off."""
    max_lookups: _Positive = 100_000
    max_server_spans: _Positive = 500_000
    """Server spans and DNS messages held at one time."""
    max_bytes: Size = _default(Size(1024 * MIB))
    """Of everything that the join holds, about."""

    def settings(self) -> JoinSettings:
        """Return the same for the join."""
        return JoinSettings(
            settle_ns=self.settle.ns,
            trace_wait_ns=self.server_trace_wait.ns,
            tolerance_ns=self.tolerance.ns,
            follow_clocks=self.clocks == "follow",
            leave_groups=self.groups == "leave",
            infer=self.infer,
            silent_after_ns=None if self.silent_after is None else self.silent_after.ns,
            relays=self.relays,
            max_lookups=self.max_lookups,
            max_server_spans=self.max_server_spans,
            max_bytes=self.max_bytes,
        )


# -- what goes out ----------------------------------------------------------------------------


class Unmatched(Section, frozen=True):
    """Server traces that no lookup claimed: most of the traffic, unless all is instrumented."""

    keep: Literal["all", "notable", "one_in", "none"] | None = None
    """``notable``: slow or failed ones. Without it, what fits ``export.what``."""
    one_in: _Positive = 100
    """With ``keep: one_in``, one server trace of so many is kept."""


class Export(Section, frozen=True):
    """What is sent on of the lookups and CoreDNS's spans."""

    what: Literal["lookups", "notable", "joined", "all"] = "notable"
    """``lookups``: lookups with the breakdown as attributes, no server spans. ``notable``: those of
    slow or failed lookups too. ``joined``: those of all joined lookups. ``all``: unmatched too."""
    slow: Duration = _default(Duration(0.1))
    """From this duration on a lookup, or an unmatched server trace, is slow."""
    unmatched: Unmatched = _default(Unmatched())
    server_span_kind: Literal["keep", "internal"] = "keep"
    """``internal``: CoreDNS's SERVER spans do not draw edges in service maps."""
    tenant_keys: tuple[str, ...] = ()
    """Attributes of a lookup's resource, such as ``tenant.id``, that its server spans get too.
    What goes by them (``load_balancing``, a backend's tenants) keeps a trace together."""


class ClientTls(Section, frozen=True):
    """How an output is trusted; files in PEM. They are read anew when they change."""

    ca: _Path | None = None
    """Who signed the endpoint's certificate; without it, the system's own authorities."""
    certificate: _Path | None = None
    key: _Path | None = None
    """With the certificate: what this processor shows of itself (mTLS)."""
    server_name: str | None = None
    """The name in the endpoint's certificate, where it is not the endpoint's host."""


class Names(Section, frozen=True):
    """How looked-up names are shown at an output; reduced after the join."""

    show: Literal["full", "registered_domain", "hash", "none"] = "full"
    hash_key_file: _Path | None = None
    """With ``show: hash``: the key (HMAC-SHA-256), so that nobody can try names out."""
    keep_zones: tuple[str, ...] = ()
    """Names in these zones stay whole, such as ``cluster.local``."""
    keep_namespaces: tuple[str, ...] = ()
    """Names that Pods of these namespaces look up stay whole."""


class Output(Section, frozen=True):
    """An OTLP/gRPC backend that gets the spans: Jaeger, or the Collector's second receiver."""

    endpoint: Address
    name: str = ""
    """In logs and metrics; without it, the endpoint."""
    tls: ClientTls | None = None
    """Without it the connection is not encrypted."""
    headers: dict[str, str] = {}
    token_file: _Path | None = None
    """A bearer token is sent; the file is read anew when it changes."""
    compression: Literal["none", "gzip"] = "none"
    timeout: Duration = _default(Duration(10))
    """Of one attempt."""
    give_up_after: Duration = _default(Duration(300))
    """So long is one batch tried on an endpoint that does not answer."""
    queue: Size = _default(Size(128 * MIB))
    """Waiting for the endpoint; what does not fit is lost to this output, and counted."""
    names: Names = _default(Names())

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or self.endpoint


# -- beside the join --------------------------------------------------------------------------


class History(Section, frozen=True):
    """Every resolution kept as rows in Parquet files."""

    keep: bool = True
    """``false``: nothing is kept, and there is no page."""
    directory: _Path | None = None
    """Without it, ``otel-dns serve`` takes ``otel-dns/history`` under ``$XDG_STATE_HOME``, which is
    ``~/.local/state`` unless set."""
    flush: Duration = _default(Duration(10))
    """Lookups are written at the latest so long after they were joined: what a crash may lose."""
    retention: Duration = _default(Duration(14 * 86_400))
    max_size: Size = _default(Size(10 * 1024 * MIB))
    """Of all files; beyond it the oldest hours are deleted."""


class Page(Section, frozen=True):
    """The web page, a child process that reads the history; without a history there is none."""

    listen: Address | None = _default(Address("127.0.0.1:8053"))
    """``null``: no page."""
    token_file: _Path | None = None
    """Who may ask: a token a line, and the namespaces to which it is bound. Needed when the page is
    reachable from elsewhere."""
    hosts: tuple[str, ...] = ()
    """Further host names under which a page without tokens may be asked."""
    jaeger: str | None = None
    """Jaeger's page, for links."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    memory: Size = _default(Size(512 * MIB))
    """Of one question at most; beyond it the question fails, and nothing else does."""


class Metrics(Section, frozen=True):
    """Metrics of resolutions and of the processor itself; always at ``/metrics``."""

    output: Endpoint | None = None
    """Where they are sent as OTLP too."""
    interval: Duration = _default(Duration(60))
    watch: tuple[str, ...] = ()
    """Names whose lookups are counted by Pod, with an alert; ``*.`` in front: all names below."""


class Log(Section, frozen=True):
    """The processor's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Traces(Section, frozen=True):
    """The processor's own traces, sent to the outputs with all else."""

    one_in: _Positive | None = None
    """One OTLP request in so many is traced; without it none is."""


class Telemetry(Section, frozen=True):
    """What the processor tells of itself."""

    log: Log = _default(Log())
    traces: Traces = _default(Traces())


class ServeSettings(Section, frozen=True):
    """Everything that a processor can be told."""

    receivers: Receivers = _default(Receivers())
    join: JoinSection = _default(JoinSection())
    export: Export = _default(Export())
    outputs: tuple[Output, ...] = _default((Output(endpoint=Address("127.0.0.1:4317")),))
    history: History = _default(History())
    page: Page = _default(Page())
    metrics: Metrics = _default(Metrics())
    telemetry: Telemetry = _default(Telemetry())
    memory_limit: Size | None = None
    """Of the whole process: near it senders are told to come again. Without it, what the
    container may use, less a tenth."""
    shutdown: Duration = _default(Duration(10))
    """At the end, so long may the outputs take for what is left."""
