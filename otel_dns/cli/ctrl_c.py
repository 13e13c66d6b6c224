"""Ctrl-C while a question is asked: it ends, wherever it is.

Python hears a signal between two of its own steps. DuckDB looks for one itself, in most queries; in
others it comes when the answer does. And one that comes while an object is taken down is lost.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Final

CODE: Final = 130
"""The exit code: 128 + SIGINT."""
_PATIENCE_S: Final = 3.0
_OF_DUCKDB: Final = "Query interrupted"
"""What DuckDB makes of a KeyboardInterrupt, a RuntimeError of its own."""


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """End the process soon after a SIGINT that comes in this block, in the usual way if it can be.

    Raises:
        KeyboardInterrupt: it was heard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()
    # Python writes the numbers of signals there at once, whatever the main thread is doing.
    told, telling = socket.socketpair()
    telling.setblocking(False)

    def insist() -> None:
        while number := told.recv(1):
            if number[0] == signal.SIGINT and not ended.wait(_PATIENCE_S):
                os.write(2, b"\ninterrupted\n")
                os._exit(CODE)

    unraisable = sys.unraisablehook

    def without_ctrl_c(lost: "sys.UnraisableHookArgs") -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):  # it is seen to, above
            unraisable(lost)

    sys.unraisablehook = without_ctrl_c
    before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=insist, name="otel-dns-ctrl-c", daemon=True)
    thread.start()
    try:
        yield
    except RuntimeError as error:
        if str(error) != _OF_DUCKDB:
            raise
        raise KeyboardInterrupt from None
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        sys.unraisablehook = unraisable
        telling.close()
        thread.join()
        told.close()
