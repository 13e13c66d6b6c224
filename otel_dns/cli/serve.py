"""``otel-dns serve``: run the processor."""

import logging
import math
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Final

import click

from otel_dns.join import JoinSettings
from otel_dns.service import ServeSettings, Service
from otel_dns.service.settings import DnstapTls

_DEFAULTS = ServeSettings()
_SECOND = 1_000_000_000
_LOOK_S = 0.5
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def _seconds(_context: click.Context, _option: click.Parameter, value: float) -> float:
    if not math.isfinite(value):  # click's range lets NaN through
        raise click.BadParameter(f"{value} is no number of seconds")
    return value


def _address(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value.startswith("unix:"):
        return value
    if "://" in value:
        raise click.BadParameter(f"{value} is a URL; give {value.partition('://')[2]}")
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, such as 127.0.0.1:4317")
    return value


def _metrics_output(
    context: click.Context, option: click.Parameter, value: str | None
) -> str | None:
    if value is None or value.startswith(("http://", "https://")):
        return value
    return _address(context, option, value)


def _dnstap_addresses(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        _address(context, option, value.removeprefix("tls:"))
    return values


@click.command(context_settings={"show_default": True})
@click.option(
    "--otlp-listen",
    metavar="HOST:PORT",
    callback=_address,
    default=_DEFAULTS.otlp_listen,
    help="Take OTLP over gRPC here: lookups, CoreDNS's spans, and any others.",
)
@click.option(
    "--http-listen",
    metavar="HOST:PORT",
    callback=_address,
    default=_DEFAULTS.http_listen,
    help="Take Zipkin v2 here (POST /api/v2/spans); /healthz, /readyz and /metrics.",
)
@click.option(
    "--dnstap-listen",
    metavar="ADDRESS",
    callback=_dnstap_addresses,
    multiple=True,
    help="Take dnstap here (CoreDNS's `dnstap tcp://... full`): HOST:PORT, tls:HOST:PORT or"
    " unix:/PATH; may be repeated.",
)
@click.option(
    "--dnstap-tls",
    metavar="CERT KEY",
    type=(_FILE, _FILE),
    help="Certificate and key (PEM) of the dnstap addresses that begin with tls:.",
)
@click.option(
    "--dnstap-client-ca",
    metavar="CA",
    type=_FILE,
    help="There, let only clients in that this CA (PEM) has signed.",
)
@click.option(
    "--output",
    metavar="HOST:PORT",
    callback=_address,
    default=_DEFAULTS.output,
    help="Send all spans there, as OTLP over gRPC: Jaeger, or the Collector's second receiver.",
)
@click.option(
    "--metrics-output",
    metavar="HOST:PORT|URL",
    callback=_metrics_output,
    help="Send metrics there too: HOST:PORT for OTLP over gRPC, an http:// URL for OTLP over HTTP.",
)
@click.option(
    "--metrics-interval",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 86_400),
    callback=_seconds,
    default=_DEFAULTS.metrics_interval_s,
    help="How often.",
)
@click.option(
    "--coredns-service",
    metavar="NAME",
    multiple=True,
    default=sorted(_DEFAULTS.coredns_services),
    help="service.name of CoreDNS's spans (its trace plugin's `service`); may be repeated.",
)
@click.option(
    "--settle",
    metavar="SECONDS",
    type=click.FloatRange(0, 86_400),
    callback=_seconds,
    default=_DEFAULTS.join.settle_ns / _SECOND,
    help="How long a lookup waits for its server traces.",
)
@click.option(
    "--server-trace-wait",
    metavar="SECONDS",
    type=click.FloatRange(0, 86_400),
    callback=_seconds,
    default=_DEFAULTS.join.trace_wait_ns / _SECOND,
    help="How long a server trace waits for its lookup: as long as the longest lookup may take.",
)
@click.option(
    "--tolerance",
    metavar="SECONDS",
    type=click.FloatRange(0, 86_400),
    callback=_seconds,
    default=_DEFAULTS.join.tolerance_ns / _SECOND,
    help="How far the clocks of clients and servers may be apart.",
)
def serve(
    otlp_listen: str,
    http_listen: str,
    dnstap_listen: tuple[str, ...],
    dnstap_tls: tuple[Path, Path] | None,
    dnstap_client_ca: Path | None,
    output: str,
    metrics_output: str | None,
    metrics_interval: float,
    coredns_service: tuple[str, ...],
    settle: float,
    server_trace_wait: float,
    tolerance: float,
) -> None:
    """Run the processor: join lookups with CoreDNS's spans and send the joined traces on.

    Every option can be given as an environment variable: OTEL_DNS_SERVE_OUTPUT, and so on. SIGTERM
    and Ctrl-C end it: what is held is joined as far as it goes, and sent.

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
    if output == otlp_listen:
        raise click.UsageError(
            f"--output {output} is where this processor listens itself: spans would go in circles"
        )
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    # What gRPC's core has to say of a busy port comes as an error of ours too.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    service = Service(
        ServeSettings(
            otlp_listen=otlp_listen,
            http_listen=http_listen,
            dnstap_listen=dnstap_listen,
            dnstap_tls=DnstapTls(*dnstap_tls, dnstap_client_ca) if dnstap_tls else None,
            output=output,
            metrics_output=metrics_output,
            metrics_interval_s=metrics_interval,
            coredns_services=frozenset(coredns_service),
            join=JoinSettings(
                settle_ns=round(settle * _SECOND),
                trace_wait_ns=round(server_trace_wait * _SECOND),
                tolerance_ns=round(tolerance * _SECOND),
            ),
        )
    )
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    log = logging.getLogger("otel_dns")
    try:
        otlp_address, http_address = service.start()
    except OSError as error:
        raise click.ClickException(
            f"{error} (another address: --otlp-listen, --http-listen, --dnstap-listen)"
        ) from None
    log.info("OTLP on %s, Zipkin and metrics on %s, out to %s", otlp_address, http_address, output)
    if service.dnstap_addresses:
        log.info("dnstap on %s", ", ".join(service.dnstap_addresses))
    while service.healthy and not ended.wait(_LOOK_S):
        pass
    healthy = service.healthy
    log.info("ending: joining and sending what is held")
    service.stop()
    counts = ", ".join(f"{name} {value}" for name, value in sorted(service.counts().items()))
    log.info("ended: %s", counts or "nothing came")
    if not healthy:
        sys.exit(1)
