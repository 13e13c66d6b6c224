"""What ``otel-dns replay`` does: reads recordings, joins them, shows what came of it."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from otel_dns import semconv
from otel_dns.cli.answers import to_json
from otel_dns.cli.joined import JoinedLookup, joined_lookups, kept_lookup
from otel_dns.cli.waterfall import legend, summary, waterfall
from otel_dns.history.answers import Kept
from otel_dns.history.rows import row_of
from otel_dns.join import JoinSettings
from otel_dns.service.recordings import KINDS, Reading, read
from otel_dns.service.recordings.replay import replay_all
from otel_dns.wire.otlp import decode

_OF_SERVERS: Final = "server_spans_", "messages_"
_MANY: Final = 10_000_000
"""Lookups, server spans and messages that are held: a recording is on a disk, and has an end."""


def run(
    paths: list[Path],
    *,
    coredns_services: frozenset[str],
    tolerance_ns: int,
    infer: bool,
    slowest: int | None,
    as_json: bool,
) -> bool:
    """Join what lies at the paths, and show it; tell whether there was something, and all sound."""
    reading = Reading(coredns_services)
    settings = JoinSettings(
        tolerance_ns=tolerance_ns,
        max_lookups=_MANY,
        max_server_spans=_MANY,
        max_remembered=_MANY,
        infer=infer,
    )
    replayed = replay_all(read(paths, reading), settings)
    lookups = joined_lookups(view for request in replayed.sent for view in decode(request))
    lookups += [kept_lookup(Kept.of(row_of(one))) for one in replayed.inferred]
    lookups.sort(key=lambda one: one.span.start_ns)
    if slowest is not None:
        timed = [one for one in lookups if not one.inferred]
        chosen = sorted(timed, key=lambda one: -one.duration_ns)[:slowest]
        lookups = sorted(chosen, key=lambda one: one.span.start_ns)
    if as_json:
        for lookup in lookups:
            click.echo(to_json(as_object(lookup)))
    else:
        _draw(lookups)
    _report(reading, replayed.counts, len(lookups))
    return bool(reading.files) and not reading.damaged


def as_object(lookup: JoinedLookup) -> dict[str, Any]:
    """Make of a lookup what ``--json`` prints: its span's attributes, and its queries."""
    span = lookup.span
    return {
        "name": lookup.name,
        "outcome": lookup.attribute(semconv.LOOKUP_OUTCOME),
        "start_ns": span.start_ns,
        "duration_ns": None if lookup.inferred else lookup.duration_ns,
        "inferred": lookup.inferred,
        "client": lookup.attribute(semconv.CLIENT_ADDRESS),
        "service": span.resource.get(semconv.SERVICE_NAME),
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "segments_ns": dict(lookup.segments),
        "plugins_ns": dict(lookup.plugins),
        "queries": [
            {
                "name": query.name,
                "type": query.type,
                "rcode": query.rcode,
                "server": query.server,
                "start_ns": query.start_ns,
                "duration_ns": query.end_ns - query.start_ns,
                "plugins": [
                    {"name": one.name, "own_ns": one.own_ns, "peer": one.peer}
                    for one in query.plugins
                ],
            }
            for query in lookup.queries
        ],
        "attributes": {key: _plain(value) for key, value in span.attributes.items()},
    }


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _draw(lookups: list[JoinedLookup]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 100)
    for lookup in lookups:
        console.print(waterfall(lookup, console.width))
        console.print()
    if lookups:
        console.print(legend())
        console.print()
        console.print(summary(lookups))


def _report(reading: Reading, joined: Counter[str], shown: int) -> None:
    """Say on stderr what was read, what was not, and what is missing for more."""

    def say(text: str) -> None:
        click.echo(text, err=True)

    for path, kind in reading.files:
        say(f"read {path}: {KINDS[kind]}")
    for path in reading.passed_over:
        say(f"passed over {path}: no recording")
    counts = reading.counts
    if without := counts["unused_line_without_time"]:
        say(
            f"{without} log lines have no time and are left out: "
            "`kubectl logs --timestamps` and container runtimes write one"
        )
    if early := joined["lookups_settled_early"]:
        say(f"{early} lookups were joined before all was read: give fewer files at once")
    for what in ("server_spans", "messages"):
        if seen := joined[f"{what}_inferred"]:
            say(f"{seen} {what.replace('_', ' ')} are of lookups that no client told of: inferred")
        if left := joined[f"{what}_unmatched"] + joined[f"{what}_no_root"]:
            say(f"{left} {what.replace('_', ' ')} belong to no lookup that is here")
    for line in reading.damaged:
        say(f"damaged: {line}")
    for service in sorted(filter(None, reading.other_servers)):
        say(f"spans of {service} look like CoreDNS's: --coredns-service {service} takes them so")
    if not reading.files:
        if not reading.damaged:
            say("no recording here: otel-dns replay --help tells what is one")
        return
    if not shown:
        say("no lookups: is there a file with the applications' spans (scope otel_dns.client)?")
    elif not any(count for name, count in joined.items() if name.startswith(_OF_SERVERS)):
        say(
            "nothing of any server: is there a file with CoreDNS's spans, its dnstap frames or "
            "its log with times?"
        )
