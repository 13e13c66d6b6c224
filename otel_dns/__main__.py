"""The command line, as ``otel-dns`` and ``python -m otel_dns``; it says what it needs."""

import io
import sys


def main() -> None:
    """Run the command line, which the client half of the package can be installed without."""
    try:
        from otel_dns.cli import main as command_line  # noqa: PLC0415 optional
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit(
            "otel-dns: only the client is installed here; the command line and the processor need"
            " more packages: pip install 'otel-dns[history]'"
        )
    except KeyboardInterrupt:
        sys.exit(130)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that has no "µ" gets a "?"
            stream.reconfigure(errors="replace")
    command_line(prog_name="otel-dns")


if __name__ == "__main__":
    main()
