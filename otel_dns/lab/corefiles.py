"""CoreDNS configurations and zones of the lab, as text.

Every function returns a whole Corefile. A test that wants something else gives its own, or puts
lines into these with ``extra``.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from otel_dns.lab import addresses as plan

ZIPKIN: Final = f"http://{plan.NODE}:9411/api/v2/spans"
"""Where CoreDNS sends its spans unless told otherwise. An address: with a name it sends nothing."""

CLUSTER_SERVICE: Final = "coredns"
NODE_CACHE_SERVICE: Final = "node-cache"
"""``service.name`` of the spans of the servers that Pods ask."""

METRICS_PORT: Final = 9153
NODE_LOCAL_METRICS_PORT: Final = 9253

# The trace id, DNS id and client port let a message be joined to its server trace exactly.
_EXTRA_IDS: Final = "{/trace/traceid} {>id} {port}"
# The common format has port and id already.
_LOG: Final = 'log . "{common} {/trace/traceid}"'

CLUSTER_ZONE: Final = f"""\
$ORIGIN cluster.local.
$TTL 5
@                       IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
@                       IN NS  ns.dns
ns.dns                  IN A   {plan.CLUSTER_DNS}
kubernetes.default.svc  IN A   10.96.0.1
kube-dns.kube-system.svc IN A  {plan.CLUSTER_DNS}
db.shop.svc             IN A   {plan.DATABASE}
payments.shop.svc       IN A   {plan.PAYMENTS}
payments.shop.svc       IN AAAA fd00:10:96::30
web.shop.svc            IN A   {plan.WEB}
"""

OUTSIDE_ZONES: Final[Mapping[str, str]] = {
    "example.org": f"""\
$ORIGIN example.org.
$TTL 300
@    IN SOA ns hostmaster 1 7200 1800 86400 60
@    IN NS  ns
ns   IN A   {plan.UPSTREAM_DNS}
www  IN A   {plan.OUTSIDE_WEB}
www  IN AAAA 2001:db8::80
api  IN A   192.0.2.81
""",
    "example.net": f"""\
$ORIGIN example.net.
$TTL 300
@    IN SOA ns hostmaster 1 7200 1800 86400 60
@    IN NS  ns
ns   IN A   {plan.UPSTREAM_DNS}
cdn  IN A   192.0.2.90
cdn  IN A   192.0.2.91
mail IN A   192.0.2.92
""",
}


def cluster(
    zones: Path,
    *,
    zipkin: str | None = ZIPKIN,
    every: int = 1,
    dnstap: str | None = None,
    forward: str = plan.UPSTREAM_DNS,
    cache: int = 30,
    delays: Mapping[str, str] | None = None,
    extra: str = "",
) -> str:
    """The cluster's DNS server.

    Args:
        zones: Directory of ``cluster.local.zone``.
        zipkin: Where its spans go; ``None``: no tracing.
        every: One query of so many is traced.
        dnstap: Where every query is tapped to, e.g. ``tcp://10.244.0.1:6000``; ``None``: nowhere.
        forward: Upstream of all names outside the cluster.
        cache: Seconds an answer may be kept; 0: no cache plugin.
        delays: Zones that plugin ``erratic`` answers, each query after a time: ``{"slow.cluster.
            local": "50ms"}``.
        extra: Lines put into the main server block.
    """
    common = _common(CLUSTER_SERVICE, zipkin, every, dnstap, METRICS_PORT)
    blocks = [
        _block([zone], [*common, "erratic {", f"    delay 1 {delay}", "}"])
        for zone, delay in (delays or {}).items()
    ]
    main = [
        *common,
        "loadbalance",
        *([f"cache {cache}"] if cache else []),
        f'file "{zones / "cluster.local.zone"}" cluster.local',
        f"forward . {forward}",
        *extra.splitlines(),
    ]
    return "\n".join([*blocks, _block(["."], main)])


def upstream(
    zones: Path,
    *,
    delay: str = "50ms",
    drop: int = 0,
    truncate: int = 0,
    zipkin: str | None = None,
    every: int = 1,
    dnstap: str | None = None,
    extra: str = "",
) -> str:
    """The DNS server outside of the cluster: example.org, example.net, NXDOMAIN for all else.

    Args:
        zones: Directory of ``example.org.zone`` and the others.
        delay: Under ``slow.example``, every answer comes after this time (plugin ``erratic``).
        drop: There, one query of so many gets no answer; 0: none.
        truncate: There, one answer of so many is truncated; 0: none.
        zipkin: As for ``cluster``.
        every: As for ``cluster``.
        dnstap: As for ``cluster``.
        extra: Lines put into the server block of example.org and example.net.
    """
    common = _common("upstream", zipkin, every, dnstap, METRICS_PORT)
    slow = [
        *common,
        "erratic {",
        f"    delay 1 {delay}",
        f"    drop {drop}",
        f"    truncate {truncate}",
        "}",
    ]
    zone_files = [
        *common,
        *(f'file "{zones / zone}.zone" {zone}' for zone in OUTSIDE_ZONES),
        *extra.splitlines(),
    ]
    # Blocks of their own: plugin template would answer before file does.
    others = [
        *common,
        "template ANY ANY . {",
        "    rcode NXDOMAIN",
        '    authority ". 60 IN SOA ns.invalid. hostmaster.invalid. 1 60 60 60 60"',
        "}",
    ]
    return "\n".join(
        [_block(["slow.example"], slow), _block(OUTSIDE_ZONES, zone_files), _block(["."], others)]
    )


def node_local(
    *,
    zipkin: str | None = None,
    every: int = 1,
    cluster_dns: str = plan.CLUSTER_DNS,
    upstream_dns: str = plan.UPSTREAM_DNS,
    extra: str = "",
) -> str:
    """A cache on the node, shaped as NodeLocal DNSCache: cluster names go on over TCP.

    Stock node-cache has neither ``metadata`` nor ``dnstap``, so this has neither.

    Args:
        zipkin: As for ``cluster``.
        every: As for ``cluster``.
        cluster_dns: Where the cluster's names are asked for.
        upstream_dns: Where all others are.
        extra: Lines put into both server blocks.
    """
    common = [
        f"bind {plan.NODE_LOCAL_DNS}",
        "errors",
        "log",
        f"prometheus {plan.NODE}:{NODE_LOCAL_METRICS_PORT}",
        *_trace(NODE_CACHE_SERVICE, zipkin, every),
    ]
    inside = [
        *common,
        "cache {",
        "    success 9984 30",
        "    denial 9984 5",
        "}",
        f"forward . {cluster_dns} {{",
        "    force_tcp",
        "}",
        *extra.splitlines(),
    ]
    outside = [*common, "cache 30", f"forward . {upstream_dns}", *extra.splitlines()]
    return "\n".join([_block(["cluster.local"], inside), _block(["."], outside)])


def _common(
    service: str, zipkin: str | None, every: int, dnstap: str | None, metrics_port: int
) -> list[str]:
    lines = ["metadata", "errors", _LOG, f"prometheus 0.0.0.0:{metrics_port}"]
    lines += _trace(service, zipkin, every)
    if dnstap is not None:
        lines += [
            f"dnstap {dnstap} full {{",
            f"    identity {service}",
            f'    extra "{_EXTRA_IDS}"',
            "}",
        ]
    return lines


def _trace(service: str, zipkin: str | None, every: int) -> list[str]:
    if zipkin is None:
        return []
    return [f"trace zipkin {zipkin} {{", f"    every {every}", f"    service {service}", "}"]


def _block(zones: Iterable[str], lines: Iterable[str]) -> str:
    heads = " ".join(f"{zone}:53" for zone in zones)
    body = "".join(f"    {line}\n" for line in lines)
    return f"{heads} {{\n{body}}}\n"
