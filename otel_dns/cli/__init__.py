"""The command line: ``otel-dns ...``, one file a command."""

import click

import otel_dns
from otel_dns.cli.demo import demo
from otel_dns.cli.lab import lab
from otel_dns.cli.programs import programs
from otel_dns.cli.serve import serve


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "OTEL_DNS"}
)
@click.version_option(otel_dns.__version__, prog_name="otel-dns")
def main() -> None:
    """Tell, with proof, why a DNS lookup in Kubernetes was slow or failed."""


main.add_command(demo)
main.add_command(lab)
main.add_command(programs)
main.add_command(serve)
