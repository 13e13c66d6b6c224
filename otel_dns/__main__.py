"""``python -m otel_dns``: the command line."""

from otel_dns.cli import main

main(prog_name="otel-dns")
