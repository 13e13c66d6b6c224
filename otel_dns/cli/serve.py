"""``otel-dns serve``: run the processor."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from otel_dns.cli.directories import default_history
from otel_dns.service import configuration
from otel_dns.service.configuration.settings import ServeSettings

_DEFAULTS = ServeSettings()
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)

_KEYS: Final = {
    "otlp_listen": "receivers.otlp.listen",
    "http_listen": "receivers.http.listen",
    "dnstap_listen": "receivers.dnstap.listen",
    "dnstap_client_ca": "receivers.dnstap.tls.client_ca",
    "coredns_service": "receivers.coredns_services",
    "settle": "join.settle",
    "server_trace_wait": "join.server_trace_wait",
    "tolerance": "join.tolerance",
    "export": "export.what",
    "page_listen": "page.listen",
    "page_token_file": "page.token_file",
    "history": "history.directory",
    "metrics_output": "metrics.output",
    "metrics_interval": "metrics.interval",
}
"""The key of the configuration that an option overrides."""


@click.command(context_settings={"show_default": True})
@click.option(
    "--config", type=_FILE, metavar="FILE", help="Read settings from this YAML file (docs)."
)
@click.option("--check", is_flag=True, help="Check the settings, print them, and end.")
@click.option("--print-schema", is_flag=True, help="Print the JSON schema of the file, and end.")
@click.option(
    "--otlp-listen",
    metavar="HOST:PORT",
    show_default=_DEFAULTS.receivers.otlp.listen,
    help="Take OTLP over gRPC here: lookups, CoreDNS's spans, and any others.",
)
@click.option(
    "--http-listen",
    metavar="HOST:PORT",
    show_default=_DEFAULTS.receivers.http.listen,
    help="Take Zipkin v2 (POST /api/v2/spans) here; /healthz, /readyz and /metrics.",
)
@click.option(
    "--dnstap-listen",
    metavar="ADDRESS",
    multiple=True,
    help="Take dnstap here (CoreDNS's `dnstap tcp://... full`): HOST:PORT, tls:HOST:PORT or"
    " unix:/PATH; may be repeated.",
)
@click.option(
    "--dnstap-tls",
    metavar="CERT KEY",
    type=(str, str),
    help="Certificate and key (PEM) of the dnstap addresses that begin with tls:.",
)
@click.option(
    "--dnstap-client-ca",
    metavar="CA",
    help="There, let only clients in that this CA (PEM) has signed.",
)
@click.option(
    "--output",
    metavar="HOST:PORT",
    multiple=True,
    show_default=_DEFAULTS.outputs[0].endpoint,
    help="Send spans there, as OTLP over gRPC: Jaeger, or the Collector's second receiver; may be"
    " repeated.",
)
@click.option(
    "--export",
    type=click.Choice(["lookups", "notable", "joined", "all"]),
    show_default=_DEFAULTS.export.what,
    help="What to send on: lookups alone, with the server spans of slow or failed ones, with those"
    " of all, or all that comes.",
)
@click.option(
    "--page-listen",
    metavar="HOST:PORT",
    show_default=_DEFAULTS.page.listen,
    help="Serve the page of the history there, from a process of its own.",
)
@click.option(
    "--page-token-file",
    metavar="FILE",
    help="Tokens of those who may see the page (docs/page.md).",
)
@click.option(
    "--history",
    metavar="DIR",
    show_default=r"otel-dns/history in $XDG_STATE_HOME",
    help="Keep every lookup there, in Parquet files (docs/history.md).",
)
@click.option("--no-history", is_flag=True, help="Keep nothing; there is no page then.")
@click.option(
    "--metrics-output",
    metavar="HOST:PORT|URL",
    help="Send metrics there too: HOST:PORT for OTLP over gRPC, an http:// URL for OTLP over HTTP.",
)
@click.option(
    "--metrics-interval",
    metavar="TIME",
    show_default=f"{_DEFAULTS.metrics.interval:g}s",
    help="How often.",
)
@click.option(
    "--coredns-service",
    metavar="NAME",
    multiple=True,
    show_default=", ".join(_DEFAULTS.receivers.coredns_services),
    help="service.name of CoreDNS's spans (its trace plugin's `service`); may be repeated.",
)
@click.option(
    "--settle",
    metavar="TIME",
    show_default=f"{_DEFAULTS.join.settle:g}s",
    help="How long a lookup waits for its server traces.",
)
@click.option(
    "--server-trace-wait",
    metavar="TIME",
    show_default=f"{_DEFAULTS.join.server_trace_wait:g}s",
    help="How long a server trace waits for its lookup: as long as the longest lookup may take.",
)
@click.option(
    "--tolerance",
    metavar="TIME",
    show_default=f"{_DEFAULTS.join.tolerance:g}s",
    help="How far the clocks of clients and servers may be apart.",
)
def serve(config: Path | None, *, check: bool, print_schema: bool, **options: Any) -> None:
    """Run the processor: join lookups with CoreDNS's spans and send the joined traces on.

    Settings come from a YAML file (--config), from variables (OTEL_DNS__JOIN__SETTLE=5s for
    join.settle), and from options, each of which is a variable too (OTEL_DNS_SERVE_OUTPUT); the
    later wins. SIGTERM and Ctrl-C end it: what is held is joined as far as it goes, and sent.
    SIGHUP makes it read its settings anew; what cannot change while it runs is said.

    \b
    Straight from CoreDNS to Jaeger, without a Collector:
      otel-dns serve --output 127.0.0.1:4317
      # Corefile:  trace zipkin http://127.0.0.1:9412/api/v2/spans { service coredns }

    \b
    Every query exactly, from dnstap (collector-config/corefiles/):
      otel-dns serve --dnstap-listen 127.0.0.1:6000
      # Corefile:  metadata
      #            dnstap tcp://127.0.0.1:6000 full { extra "{/trace/traceid} {>id} {port}" }
    """
    if print_schema:
        click.echo(json.dumps(configuration.schema(), indent=2))
        return

    def load() -> ServeSettings:
        return configuration.load(config, os.environ, _overrides(options))

    try:
        settings = load()
    except configuration.ConfigurationError as error:
        raise click.UsageError(str(error)) from None
    if check:
        click.echo(configuration.show(settings), nl=False)
        return
    from otel_dns.cli.serve_run import run

    run(lambda: _with_history(load()))


def _with_history(settings: ServeSettings) -> ServeSettings:
    if settings.history.directory is not None:
        return settings
    kept = msgspec.structs.replace(settings.history, directory=str(default_history()))
    return msgspec.structs.replace(settings, history=kept)


def _overrides(options: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the keys that options of the command line override, with their values."""
    if options["dnstap_tls"]:
        certificate, key = options["dnstap_tls"]
        yield "receivers.dnstap.tls", {"certificate": certificate, "key": key}
    if options["output"]:
        yield "outputs", [{"endpoint": endpoint} for endpoint in options["output"]]
    if options["no_history"]:
        yield "history.keep", False
    for option, key in _KEYS.items():
        value = options[option]
        if value is not None and value != ():
            yield key, list(value) if isinstance(value, tuple) else value
