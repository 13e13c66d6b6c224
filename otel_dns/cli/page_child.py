"""The page as a child process of ``otel-dns serve``: started, watched, started again, ended.

A process of its own, so that no question slows the ingest and none of its ends harms it. It goes
when its starter goes, in whatever way: its standard input is a pipe that nobody else holds. What it
logs is logged by its starter, in whose format and level it then is. What would keep it from
starting, such as an address that another has, is looked at before, which costs next to nothing.
"""

import importlib.util
import logging
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from otel_dns.cli import page_address
from otel_dns.service import own_log
from otel_dns.service.configuration.settings import ServeSettings
from otel_dns.web.access import Tokens, TokensError

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_RAN_WELL_S: Final = 60.0
"""After so long the next start is not delayed any more."""
_REMIND_S: Final = 3600.0
"""What keeps the page from starting is said at once, and then so seldom."""
_END_S: Final = 5.0
_LONGEST_LINE: Final = 1 << 20
TEMPORARY: Final = "otel-dns-page-"
"""What the directory of a page's temporary files begins with; its process id follows."""

_log = logging.getLogger(__name__)


class PageChild:
    """Keeps ``otel-dns page`` running."""

    def __init__(
        self, arguments: Sequence[str], listen: str, token_file: str | None = None
    ) -> None:
        """Describe the child.

        Args:
            arguments: of ``otel-dns page``, but for these.
            listen: where, ``HOST:PORT``.
            token_file: whose tokens it wants, if any.
        """
        self._listen, self._token_file = listen, token_file
        self._command = [sys.executable, "-P", "-m", "otel_dns", "page", "--tied"]
        self._command += ["--log-format", "json", "--listen", listen, *arguments]
        self._command += ["--token-file", token_file] if token_file else []
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="otel-dns-page", daemon=True)

    def start(self) -> None:
        """Start the child, and whatever follows it."""
        self._thread.start()

    def stop(self) -> None:
        """End the child: it has a few seconds for the answers under way."""
        with self._lock:
            self._ending.set()
            process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join()

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def _keep(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._ending.is_set():
            self._await_place()
            began = time.monotonic()
            try:
                code = self._run()
            except OSError as error:
                _log.warning("the page cannot be started: %s", error)
                code = None
            if self._ending.is_set():
                return
            if time.monotonic() - began >= _RAN_WELL_S:
                pause = _FIRST_PAUSE_S
            if code is not None:
                _log.warning("the page ended (%d); it starts again in %.0f s", code, pause)
            self._ending.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _await_place(self) -> None:
        """Return once nothing keeps the page from starting; say what does."""
        began, pause = time.monotonic(), _FIRST_PAUSE_S
        said, said_at = "", -math.inf
        while not self._ending.is_set():
            why = self._in_its_way()
            now = time.monotonic()
            if not why:
                if said:
                    _log.info("the page can start, after %.0f s", now - began)
                return
            if why != said or now - said_at >= _REMIND_S:
                _log.error("there is no page: %s. It starts by itself once it can", why)
                said, said_at = why, now
            self._ending.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _in_its_way(self) -> str:
        try:
            page_address.listen_at(*page_address.split(self._listen)).close()
        except ValueError as error:
            return f"{error} (page.listen, --page-listen)"
        except OSError as error:
            return (
                f"it cannot listen on {self._listen} ({os.strerror(error.errno or 0)}); end what"
                " listens there, or give the page another address (page.listen, --page-listen)"
            )
        if self._token_file:
            try:
                Tokens.read(Path(self._token_file))
            except TokensError as error:
                return f"{error} (page.token_file, --page-token-file)"
        return ""

    def _run(self) -> int | None:
        with self._lock:
            if self._ending.is_set():
                return None
            # In a session of its own: Ctrl-C is for the service, which ends the page when it ends.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        with self._process as process:
            assert process.stderr is not None
            while line := process.stderr.readline(_LONGEST_LINE):
                own_log.pass_on(line)
            code = process.wait()
        if code:  # killed, it has left what its questions did not hold in memory
            for left in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}{process.pid}-*"):
                shutil.rmtree(left, ignore_errors=True)
        return code


def page_of(settings: ServeSettings, addresses: Mapping[str, str]) -> PageChild | None:
    """Describe the page that a service's settings want; None where they want none.

    Args:
        settings: of the service.
        addresses: where it listens, by name.
    """
    history = settings.history
    page = settings.page
    if not history.keep or history.directory is None or page.listen is None:
        return None
    if any(importlib.util.find_spec(package) is None for package in ("duckdb", "fastapi")):
        _log.warning("no page: it wants more packages (pip install 'otel-dns[history]')")
        return None
    return PageChild(list(_arguments(settings, addresses)), page.listen, page.token_file)


def _arguments(settings: ServeSettings, addresses: Mapping[str, str]) -> Iterator[str]:
    page = settings.page
    yield from ("--history", str(settings.history.directory))
    http = settings.receivers.http
    address = addresses["http"]
    if http.tls is None and not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        reached = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 not to listen
        yield from ("--service", f"http://{reached}:{port}")
        if http.token_file:
            yield from ("--service-token-file", http.token_file)
    for host in page.hosts:
        yield from ("--host", host)
    if page.jaeger:
        yield from ("--jaeger", page.jaeger)
    yield from ("--log-level", settings.telemetry.log.level)
    yield from ("--threads", str(page.threads), "--memory", str(max(page.memory >> 20, 64)))
