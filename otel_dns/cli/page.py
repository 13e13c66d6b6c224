"""``otel-dns page``: the page by itself, on history files."""

from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import click

from otel_dns.cli import page_address
from otel_dns.cli.directories import default_history
from otel_dns.service.configuration.settings import Log
from otel_dns.web.guard import is_loopback
from otel_dns.web.settings import PageSettings

_MIB: Final = 1 << 20
_DEFAULTS: Final = PageSettings(Path())


def _http(_context: click.Context, option: click.Parameter, value: str) -> str:
    if value and urlsplit(value).scheme not in {"http", "https"}:
        raise click.BadParameter(
            f"{value!r} is no address such as http://127.0.0.1:9412", param=option
        )
    return value.rstrip("/")


@click.command(context_settings={"show_default": True})
@click.option(
    "--history",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_history,
    show_default="where `otel-dns serve` writes it",
    help="Directory of the history.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=_DEFAULTS.listen,
    help="Serve the page there; beyond loopback it needs --token-file.",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Who may ask: a token a line, behind it the namespaces to which it is bound, if any.",
)
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A further name under which a page without tokens may be asked; may be repeated.",
)
@click.option(
    "--service",
    metavar="URL",
    default="",
    callback=_http,
    help="The running processor (its --http-listen), for figures of this moment.",
)
@click.option(
    "--service-token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The token that the processor wants, if any.",
)
@click.option(
    "--jaeger", metavar="URL", default="", callback=_http, help="Jaeger's page, for links."
)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=_DEFAULTS.threads,
    help="Threads that questions may use.",
)
@click.option(
    "--memory",
    metavar="MIB",
    type=click.IntRange(64),
    default=_DEFAULTS.memory_bytes // _MIB,
    help="Memory that questions may use.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default=Log().level,
    help="Of its own log, on standard error.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default=Log().format,
    help="Of its own log: for people, or one JSON object a line.",
)
@click.option("--tied", is_flag=True, hidden=True, help="End when standard input does.")
def page(
    history: Path,
    listen: str,
    token_file: Path | None,
    hosts: tuple[str, ...],
    service: str,
    service_token_file: Path | None,
    jaeger: str,
    threads: int,
    memory: int,
    log_level: Literal["debug", "info", "warning", "error"],
    log_format: Literal["text", "json"],
    tied: bool,
) -> None:
    """Serve the page on a history: what is slow, for whom, since when, because of what.

    It only reads, so it can run beside `otel-dns serve` (which starts it by itself) or on a copy of
    the files anywhere. Its questions have their own limits on threads and memory.

    \b
    Examples:
      otel-dns page --history /var/lib/otel-dns
      otel-dns page --history copy --listen 0.0.0.0:8053 --token-file tokens
    """
    try:
        host, port = page_address.split(listen)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not is_loopback(host) and token_file is None:
        raise click.UsageError(
            f"--listen {listen} is reachable from elsewhere: give --token-file (a token a line,"
            " such as `openssl rand -hex 16` makes), or listen on 127.0.0.1"
        )
    from otel_dns.cli.page_run import run

    settings = PageSettings(
        history=history,
        listen=listen,
        token_file=token_file,
        hosts=hosts,
        service_url=service,
        service_token_file=service_token_file,
        jaeger_url=jaeger,
        threads=threads,
        memory_bytes=memory * _MIB,
    )
    run(settings, (host, port), Log(level=log_level, format=log_format), tied=tied)
