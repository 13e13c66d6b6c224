"""The command line, as ``otel-dns`` and ``python -m otel_dns``; it says what it needs."""

import os
import signal
import sys


def main() -> None:
    """Run the command line, which the client half of the package can be installed without."""
    _let_sigterm_end_it()
    try:
        from otel_dns.cli import main as command_line  # noqa: PLC0415 optional
        from otel_dns.cli.streams import prepare  # noqa: PLC0415 likewise
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit(
            "otel-dns: only the client is installed here; the command line and the processor need"
            " more packages: pip install 'otel-dns[history]'"
        )
    except KeyboardInterrupt:
        sys.exit(130)
    prepare()
    try:
        command_line(prog_name="otel-dns")
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()  # here it can still tell that nobody reads it


def _let_sigterm_end_it() -> None:
    """Have SIGTERM end process 1 too, for which Linux ignores what nobody handles.

    A container's program is process 1. `serve` has its own handler when it runs; what it loads
    before that takes as long as a second.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))


if __name__ == "__main__":
    main()
