"""``otel-dns page``: the page by itself, on history files."""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import click

from otel_dns.cli import page_address
from otel_dns.cli.directories import default_history
from otel_dns.cli.page_child import TEMPORARY
from otel_dns.service import own_log
from otel_dns.service.configuration.settings import Log
from otel_dns.web.access import TokensError
from otel_dns.web.app import create_app
from otel_dns.web.export import ABORT
from otel_dns.web.guard import is_loopback
from otel_dns.web.settings import PageSettings

_MIB: Final = 1 << 20
_DEFAULTS: Final = PageSettings(Path())
_ADDRESS_SPACE: Final = 4 << 30
"""Beyond DuckDB's own limit: what it and Python map at most, before the kernel says no."""

_log = logging.getLogger("otel_dns")


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
    own_log.set_up(Log(level=log_level, format=log_format))
    _stand_back(max(_ADDRESS_SPACE, 4 * memory * _MIB))
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
    with _temporary_files():
        try:
            listening = page_address.listen_at(host, port)
        except OSError as error:
            _log.error("the page cannot listen on %s (--listen): %s", listen, error)
            sys.exit(1)
        try:
            app = create_app(settings)
        except TokensError as error:
            _log.error("the page: --token-file: %s", error)
            sys.exit(1)
        _serve(app, listening, tied=tied, history=history)
    # Threads that are still at a question would be ended within C++, which aborts the process.
    logging.shutdown()
    os._exit(0)


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Have all temporary files in one directory, which goes at the end, whoever still uses it."""
    try:
        directory = tempfile.TemporaryDirectory(
            prefix=f"{TEMPORARY}{os.getpid()}-", ignore_cleanup_errors=True
        )
    except OSError:  # there is no place for any
        yield
        return
    with directory:
        tempfile.tempdir = directory.name
        yield


def _stand_back(address_space: int) -> None:
    """Be the one that waits, and the one that is killed, when the machine has too little of it."""
    with suppress(OSError):
        os.nice(10)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


def _with_abort(app: Any, abort: Callable[[], None]) -> Any:
    async def asked(scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("extensions", {})[ABORT] = abort
        await app(scope, receive, send)

    return asked


def _serve(app: object, listening: socket.socket, *, tied: bool, history: Path) -> None:
    import uvicorn  # noqa: PLC0415 the limits above come first
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415

    class Protocol(H11Protocol):
        """Lets the application end a connection, whatever still waits to be sent."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.app = _with_abort(self.app, transport.abort)

    server = uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=Protocol,
            lifespan="off",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=64,
            timeout_graceful_shutdown=2,
        )
    )

    def end_with_starter() -> None:
        while os.read(0, 4096):
            pass  # not by sys.stdin, whose lock would be held at the end
        server.should_exit = True

    # uvicorn ends on these by itself, and then gives them to whom they were for: nobody.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if tied:
        threading.Thread(target=end_with_starter, name="otel-dns-tie", daemon=True).start()
    bound = listening.getsockname()
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    _log.info("the page: http://%s:%d/ on %s", shown, bound[1], history)
    server.run(sockets=[listening])
