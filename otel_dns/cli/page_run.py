"""What ``otel-dns page`` does once it has read its options."""

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
from typing import Any, Final, NoReturn

from otel_dns.cli import page_address
from otel_dns.cli.page_child import TEMPORARY
from otel_dns.service import own_log
from otel_dns.service.configuration.settings import Log
from otel_dns.web.access import TokensError
from otel_dns.web.app import create_app
from otel_dns.web.export import ABORT
from otel_dns.web.settings import PageSettings

_ADDRESS_SPACE: Final = 4 << 30
"""Beyond DuckDB's own limit: what it and Python map at most, before the kernel says no."""

_log = logging.getLogger("otel_dns")


def run(settings: PageSettings, address: tuple[str, int], log: Log, *, tied: bool) -> NoReturn:
    """Serve the page until a signal ends it, or this process' starter does; then exit."""
    own_log.set_up(log)
    _stand_back(max(_ADDRESS_SPACE, 4 * settings.memory_bytes))
    with _temporary_files():
        try:
            listening = page_address.listen_at(*address)
        except OSError as error:
            _log.error("the page cannot listen on %s (--listen): %s", settings.listen, error)
            sys.exit(1)
        try:
            app = create_app(settings)
        except TokensError as error:
            _log.error("the page: --token-file: %s", error)
            sys.exit(1)
        _serve(app, listening, tied=tied, history=settings.history)
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
    import uvicorn  # the limits above come first
    from uvicorn.protocols.http.h11_impl import H11Protocol

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
