"""``otel-dns replay``: recordings through the same core as the running processor."""

from pathlib import Path
from typing import Final

import click

from otel_dns.join import JoinSettings
from otel_dns.service.configuration.settings import Receivers

_SECOND: Final = 1_000_000_000


@click.command(context_settings={"show_default": True})
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH...",
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a lookup, a line each.")
@click.option(
    "--slowest", metavar="N", type=click.IntRange(1), help="Show only the N slowest lookups."
)
@click.option(
    "--coredns-service",
    metavar="NAME",
    multiple=True,
    default=sorted(Receivers().coredns_services),
    help="service.name of CoreDNS's spans (its trace plugin's `service`); may be repeated.",
)
@click.option(
    "--tolerance",
    metavar="SECONDS",
    type=click.FloatRange(0, 86_400),
    default=JoinSettings().tolerance_ns / _SECOND,
    help="How far the clocks of clients and servers may be apart.",
)
@click.option(
    "--inferred/--no-inferred",
    default=True,
    help="Make lookups of what servers tell of clients that are not instrumented.",
)
def replay(
    paths: tuple[Path, ...],
    as_json: bool,
    slowest: int | None,
    coredns_service: tuple[str, ...],
    tolerance: float,
    inferred: bool,
) -> None:
    """Join recordings, and show each lookup: for post-mortems.

    PATHs are files, directories and pipes, - for standard input, in any order; what a file is shows
    in its content: OTLP as the Collector's file exporter writes it (JSON lines or protobuf), Zipkin
    JSON, dnstap frames, CoreDNS's log with a time on each line; gzip or plain.

    \b
      otel-dns replay traces.jsonl coredns.fstrm
      kubectl -n kube-system logs --timestamps coredns-0 | otel-dns replay traces.jsonl -
      otel-dns lab record incident && otel-dns replay incident
      otel-dns replay --json --slowest 20 /var/lib/otelcol/export | jq .name

    What is damaged is set aside and said, and the rest is joined. The exit code is then 1, and also
    where there is no recording at all.
    """
    from otel_dns.cli.replay_run import run

    whole = run(
        list(paths),
        coredns_services=frozenset(coredns_service),
        tolerance_ns=round(tolerance * _SECOND),
        infer=inferred,
        slowest=slowest,
        as_json=as_json,
    )
    if not whole:
        raise SystemExit(1)
