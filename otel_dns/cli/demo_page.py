"""How the demo ends on a terminal: with the page open to browse, until Ctrl-C."""

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console

ROUNDS: Final = 15
"""Of the storefront, so that the page has enough to judge by."""
_PORT: Final = 8053
_READY_S: Final = 60.0


def show_page(console: Console, history: Path, lookup: str) -> None:
    """Serve the page on a history until Ctrl-C, or until it ends by itself.

    Args:
        console: where to say so.
        history: the history's directory.
        lookup: the lookup to lead to, as ``TRACE/SPAN`` in hexadecimal.
    """
    port = _free_port()
    command = [sys.executable, "-P", "-m", "otel_dns", "page", "--tied"]
    command += ["--history", str(history), "--listen", f"127.0.0.1:{port}"]
    # In a session of its own, and tied: Ctrl-C is for the demo, with which the page ends.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as page:
        try:
            if _ready(page, port):
                url = f"http://127.0.0.1:{port}/"
                console.print(
                    f"\nThe page, on what was seen: {url}  (Ctrl-C ends it)\n"
                    f"  the slowest lookup: {url}#/lookup/{lookup}\n"
                    f"  what a change would save: {url}#/pods?order=waste",
                    highlight=False,
                    soft_wrap=True,
                )
                page.wait()
            else:
                console.print("\nThe page did not start: try `otel-dns page --help`.")
        except KeyboardInterrupt:
            console.print()
        finally:
            page.terminate()


def _free_port() -> int:
    for port in (_PORT, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as server:
            found: int = server.getsockname()[1]
            return found
    return _PORT


def _ready(page: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + _READY_S
    while page.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.1)
    return False
