"""Standard output whose reader may leave, and which cannot show every character.

All commands write to it, by way of click or rich; here is what they have in common. `| head` that
has seen enough ends them quietly with 141, which is what a shell shows for a program that SIGPIPE
ended. They end by an exception, so that what they hold (a lab, temporary files) goes with them.
"""

import io
import os
import sys
from typing import Any, Final

READER_LEFT: Final = 141
"""The exit code then: 128 + SIGPIPE."""


class _Output(io.FileIO):
    """Ends the program when it cannot be written to."""

    def write(self, data: Any) -> int:
        """Write, as :meth:`io.FileIO.write`.

        Raises:
            SystemExit: the reader is gone, or there is no room; no later write fails.
        """
        try:
            return super().write(data)
        except BrokenPipeError:
            self._be_done()
            raise SystemExit(READER_LEFT) from None
        except OSError as error:
            self._be_done()
            raise SystemExit(f"Error: standard output: {error.strerror}") from None

    def _be_done(self) -> None:
        """Have what is still in buffers go nowhere, without a word."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def prepare() -> None:
    """Make standard output so; and have both streams show `?` for what their terminal has not."""
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="replace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        given = sys.stdout
        given.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(given.fileno(), "wb", closefd=False)),
            encoding=given.encoding,
            errors="replace",
            line_buffering=given.line_buffering,
        )
