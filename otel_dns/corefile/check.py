"""What a Corefile makes known to otel-dns, at which cost, and what in it does not do what it seems.

The traps are of CoreDNS 1.15: each one was seen on the running program, or is in its source.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal
from urllib.parse import urlsplit

from otel_dns.corefile.levels import LEVELS, Level
from otel_dns.corefile.parse import Directive, ServerBlock
from otel_dns.wire.coredns_log import OUR_FORMAT
from otel_dns.wire.dnstap import EXTRA_FORMAT

Severity = Literal["error", "warning", "note"]

_MAX_BACKLOG: Final = 5_000
_SMALL: Final = 300
_RARE: Final = 1_000
"""Spans of a backlog, and rate of sampling, that do no harm with a receiver that refuses."""
_HANDLERS_BEFORE_TRACE: Final = frozenset({"geoip", "cancel", "nsid", "bufsize"})
"""Of those that plugin.cfg of CoreDNS 1.15 has before ``trace``: what does something to a query."""
PLUGINS: Final = frozenset({
    "acl", "any", "auto", "autopath", "azure", "bind", "bufsize", "cache", "cancel", "chaos",
    "clouddns", "debug", "dns64", "dnssec", "dnstap", "dynupdate", "erratic", "errors", "etcd",
    "file", "forward", "geoip", "grpc", "grpc_server", "header", "health", "hosts", "https",
    "https3", "k8s_external", "kubernetes", "loadbalance", "local", "log", "loop", "metadata",
    "minimal", "multisocket", "nomad", "nsid", "on", "pprof", "prometheus", "proxyproto",
    "quic", "ready", "reload", "rewrite", "root", "route53", "secondary", "shed", "sign",
    "siit", "template", "timeouts", "tls", "trace", "transfer", "tsig", "view", "whoami",
})  # fmt: skip
"""Those that CoreDNS 1.15 is built with (``coredns -plugins``)."""
_METADATA_LABEL: Final = re.compile(r"\{/[^}]+\}")
_IDS: Final = ("{>id}", "{port}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, or good to know."""

    severity: Severity
    """``error``: it does not work. ``warning``: it costs or hides something. ``note``: to know."""
    line: int
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class BlockReport:
    """One server block: its level, and the ways of joining that it allows."""

    block: ServerBlock
    level: Level
    rungs: tuple[str, ...]
    without: str = ""
    """What is missing of its level."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole file."""

    blocks: tuple[BlockReport, ...]
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The lowest level of any block: of some queries no more is known."""
        return min((one.level for one in self.blocks), key=lambda level: level.number)


def check(blocks: Sequence[ServerBlock]) -> Report:
    """Check a Corefile.

    Args:
        blocks: as :func:`otel_dns.corefile.parse` gives them; at least one.
    """
    findings = [finding for block in blocks for rule in _RULES for finding in rule(block)]
    findings += _between(blocks)
    order = {"error": 0, "warning": 1, "note": 2}
    return Report(
        tuple(map(_report, blocks)),
        tuple(sorted(set(findings), key=lambda one: (order[one.severity], one.line, one.text))),
    )


# -- the level --------------------------------------------------------------------------------


def _report(block: ServerBlock) -> BlockReport:
    taps = [one for one in block.all("dnstap") if _sends(one)]
    full = any(_is_full(one) for one in taps)
    trace = block.first("trace")
    every = _every(trace) if trace else 0
    logged = any(_tells_ids(one) for one in block.all("log"))
    without = ""
    if every == 1:
        number, without = 4, "" if full else "dnstap: no port, id or end of the answer"
    elif every > 1:
        number, without = 3, "" if full else "dnstap: only the sampled queries are known at all"
    elif full:
        number = 2
    else:
        number = 1 if logged or taps else 0
    rungs = []
    if every and any(key.startswith(("https://", "https3://")) for key in block.keys):
        rungs.append("context")
    if full:
        rungs += ["edns", "id", "case"]
    elif logged or any(_has_ids(one) for one in taps):
        rungs.append("id")
    if number:
        rungs.append("time")
    return BlockReport(block, LEVELS[number], tuple(rungs), without)


def _sends(tap: Directive) -> bool:
    return bool(tap.arguments) and tap.arguments[0] != "listen"


def _is_full(tap: Directive) -> bool:
    return tap.arguments[1:2] == ("full",)


def _has_ids(tap: Directive) -> bool:
    extra = tap.property("extra")
    return extra is not None and " ".join(extra.arguments).startswith(EXTRA_FORMAT)


def _every(trace: Directive) -> int:
    """Return one query of how many is traced; 0: none."""
    rate = trace.property("every")
    if rate is None:
        return 1
    text = rate.arguments[0] if rate.arguments else ""
    return int(text) if text.isascii() and text.isdecimal() else 1


def _format(log: Directive) -> str:
    last = log.arguments[-1] if len(log.arguments) > 1 else ""
    return last if "{" in last else "{common}"


def _tells_ids(log: Directive) -> bool:
    format_ = _format(log)
    return "{common}" in format_ or "{combined}" in format_ or all(one in format_ for one in _IDS)


# -- rules ------------------------------------------------------------------------------------


def _trace(block: ServerBlock) -> Iterator[Finding]:
    traces = block.all("trace")
    for trace in traces[1:]:
        yield Finding(
            "warning", trace.line,
            "a second trace in one server block: it has one endpoint, the last one's",
            "keep one; a Collector can send on to several places",
        )  # fmt: skip
    for trace in traces:
        yield from _trace_endpoint(trace)
        every = _every(trace)
        if every == 1:
            yield Finding(
                "warning", trace.line,
                "every query is traced: at full load CoreDNS takes four to five times the CPU a"
                " query, six times while the receiver refuses",
                "`every 100`, with dnstap for every query; every 1 for a lab, or one replica for an"
                " hour",
            )  # fmt: skip
        elif every == 0:
            yield Finding("warning", trace.line, "`every 0` traces no query at all", "`every 100`")
        backlog = trace.property("zipkin_max_backlog_size")
        size = backlog.arguments[0] if backlog and backlog.arguments else "0"
        if backlog and size.isdecimal() and int(size) > _MAX_BACKLOG:
            yield Finding(
                "warning", backlog.line,
                f"a backlog of {size} spans: while the receiver refuses, each retry sends all of"
                " it, and memory grows (200000: from 51 to 673 MB in 30 s at 3,000 queries a"
                " second)",
                f"leave it at 1000 (at most {_MAX_BACKLOG}), and have an agent on the node that"
                " always answers",
            )  # fmt: skip
        if 1 < every < _RARE and (not backlog or int(size if size.isdecimal() else 0) > _SMALL):
            yield Finding(
                "note", trace.line,
                "while the receiver refuses, the whole backlog is sent again and again: with the"
                " default of 1000 spans a query then costs twice what it does with 200",
                f"zipkin_max_backlog_size 200, or every {_RARE}",
            )  # fmt: skip
        if trace.property("client_server"):
            yield Finding(
                "note", trace.line,
                "client_server: over DNS over HTTPS the server's span shares the client's span id;"
                " some backends show one of the two only",
            )  # fmt: skip


def _trace_endpoint(trace: Directive) -> Iterator[Finding]:
    kind = trace.arguments[0] if len(trace.arguments) > 1 else "zipkin"
    endpoint = trace.arguments[-1] if trace.arguments else ""
    if trace.arguments[:1] == ("datadog",):
        kind = "datadog"
    if kind != "zipkin":
        yield Finding(
            "error", trace.line, f"trace {kind}: otel-dns and the Collector take Zipkin",
            "trace zipkin http://ADDRESS:9411/api/v2/spans",
        )  # fmt: skip
        return
    if not endpoint or endpoint == "zipkin":
        yield Finding(
            "note", trace.line,
            "trace without an endpoint sends to localhost:9411: a sidecar, or nobody",
            "name the node's agent: trace zipkin http://{$NODE_IP}:9411/api/v2/spans",
        )  # fmt: skip
        return
    url = endpoint if "://" in endpoint else f"http://{endpoint}/api/v2/spans"
    host = _host(url)
    if host and not _is_address(host) and host != "localhost":
        yield Finding(
            "error", trace.line,
            f"the trace endpoint is a name ({host}): CoreDNS starts, warns and sends nothing",
            "an address, such as the node's: env NODE_IP from status.hostIP, and {$NODE_IP} here",
        )  # fmt: skip


def _dnstap(block: ServerBlock) -> Iterator[Finding]:
    for tap in block.all("dnstap"):
        if not _sends(tap):
            yield Finding(
                "warning", tap.line,
                "dnstap listen waits for a receiver to connect; otel-dns listens itself",
                "dnstap tcp://ADDRESS:6000 full",
            )  # fmt: skip
            continue
        host = _host(tap.arguments[0]) if "://" in tap.arguments[0] else ""
        scheme = tap.arguments[0].partition("://")[0]
        if scheme in {"tcp", "tls"} and host and not _is_address(host) and host != "localhost":
            yield Finding(
                "warning", tap.line,
                f"the dnstap endpoint is a name ({host}): CoreDNS asks the node's resolver for it"
                " (dnsPolicy Default), which does not know the cluster's names",
                "an address, or a Unix socket",
            )  # fmt: skip
        if not _is_full(tap):
            yield Finding(
                "warning", tap.line,
                "dnstap without `full` has no names, types, answers or letter case",
                "dnstap ADDRESS full",
            )  # fmt: skip
        if tap.property("extra") is None:
            yield Finding(
                "note", tap.line,
                "dnstap without `extra`: messages join their server trace by port, id and time, and"
                " a forwarder's messages join by name and time",
                f'metadata, and in dnstap: extra "{EXTRA_FORMAT}"',
            )  # fmt: skip
        elif not _has_ids(tap):
            yield Finding(
                "warning", tap.line,
                "otel-dns does not read this `extra`",
                f'extra "{EXTRA_FORMAT}", and whatever else behind it',
            )  # fmt: skip


def _log(block: ServerBlock) -> Iterator[Finding]:
    for log in block.all("log"):
        if not _tells_ids(log):
            yield Finding(
                "warning", log.line,
                "this log format has no port and id: its lines join nothing",
                f'log . "{OUR_FORMAT}"',
            )  # fmt: skip
        classes = log.property("class")
        if classes and "all" not in classes.arguments:
            yield Finding(
                "note", classes.line,
                f"only answers of class {' '.join(classes.arguments)} are logged: of the others"
                " nothing is known from the log",
            )  # fmt: skip
        zones = log.arguments[:-1] if _format(log) != "{common}" else log.arguments
        if zones and "." not in zones:
            yield Finding(
                "note", log.line, f"only queries under {', '.join(zones)} are logged"
            )  # fmt: skip


def _metadata(block: ServerBlock) -> Iterator[Finding]:
    if block.first("metadata") is not None:
        if any("client-pod-name" in text for text in _texts(block)):
            kubernetes = block.first("kubernetes")
            pods = kubernetes.property("pods") if kubernetes else None
            if pods is None or pods.arguments[:1] != ("verified",):
                yield Finding(
                    "warning", block.line,
                    "the client's Pod is known to CoreDNS with `pods verified` only",
                    "leave it out: otel-dns knows Pods by address; verified takes four times the"
                    " memory",
                )  # fmt: skip
        return
    for directive in block.directives:
        if directive.name in {"log", "dnstap"}:
            texts = [*directive.arguments, *(t for p in directive.properties for t in p.arguments)]
            labels = [one for text in texts for one in _METADATA_LABEL.findall(text)]
            if labels:
                yield Finding(
                    "error", directive.line,
                    f"{labels[0]} in {directive.name} without plugin metadata: it is always '-'",
                    "put `metadata` into this server block",
                )  # fmt: skip


def _texts(block: ServerBlock) -> Iterator[str]:
    for directive in block.directives:
        yield from directive.arguments
        for one in directive.properties:
            yield from one.arguments


def _debug(block: ServerBlock) -> Iterator[Finding]:
    debug = block.first("debug")
    if debug is not None:
        yield Finding(
            "warning", debug.line,
            "debug: a panic ends CoreDNS instead of one query, and every plugin's debug lines go to"
            " the log",
            "leave it out in production",
        )  # fmt: skip


def _order(block: ServerBlock) -> Iterator[Finding]:
    trace = block.first("trace")
    if trace is not None:
        hidden = [one.name for one in block.directives if one.name in _HANDLERS_BEFORE_TRACE]
        if hidden:
            yield Finding(
                "note", trace.line,
                f"{', '.join(dict.fromkeys(hidden))} run before trace, whatever the order of lines"
                " here: their time is in no span",
            )  # fmt: skip
    if block.first("rewrite") is not None and (trace or block.first("dnstap")):
        rewrite = block.first("rewrite")
        assert rewrite is not None
        yield Finding(
            "note", rewrite.line,
            "the order is that of the build, not of lines: log and dnstap show the name that was"
            " asked, trace the one that rewrite made of it",
        )  # fmt: skip


def _imports(block: ServerBlock) -> Iterator[Finding]:
    for one in block.all("import"):
        yield Finding(
            "note",
            one.line,
            f"import {' '.join(one.arguments)}: what is in there was not looked at",
        )


def _plugins(block: ServerBlock) -> Iterator[Finding]:
    if not block.directives:
        yield Finding("warning", block.line, "no plugin at all: every query is refused")
    for one in block.directives:
        if one.name not in PLUGINS and one.name != "import":
            near = get_close_matches(one.name, PLUGINS, 1)
            yield Finding(
                "warning", one.line,
                f"{one.name[:40]!r} is no plugin of CoreDNS 1.15: it refuses the whole file, and a"
                " running one keeps what it had",
                f"{near[0]}, perhaps" if near else "a CoreDNS that is built with it",
            )  # fmt: skip


def _between(blocks: Sequence[ServerBlock]) -> Iterator[Finding]:
    """Look at what some blocks have and others do not."""
    for name in ("trace", "dnstap"):
        have = [block for block in blocks if block.first(name) is not None]
        lack = [block for block in blocks if block.first(name) is None]
        if have and lack:
            zones = ", ".join(key for block in lack for key in block.keys)
            yield Finding(
                "note", lack[0].line,
                f"{name} stands in some server blocks only: queries for {zones} are not seen by it",
            )  # fmt: skip


_RULES: Final = (_trace, _dnstap, _log, _metadata, _debug, _order, _imports, _plugins)


def _host(url: str) -> str:
    """Return the host of a URL; empty where a variable stands for it."""
    if "{$" in url or "{%" in url:
        return ""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
