"""``otel-dns demo``: joined DNS traces from real programs, in a lab on this machine."""

import os
import sys

import click


@click.command()
@click.option("--replay", "replayed", is_flag=True, help="Show the recording; start nothing.")
@click.option(
    "--page/--no-page",
    "paged",
    default=None,
    help="End with the page open to browse, until Ctrl-C; by default on a terminal.",
)
def demo(replayed: bool, paged: bool | None) -> None:
    """Show joined DNS traces: an application's lookups with the DNS server's own spans.

    Starts real programs in namespaces of their own (as root or as an ordinary user), runs an
    ordinary Python application under opentelemetry-instrument in a Pod, and shows where the time of
    each of its lookups went. Leaves nothing behind. Where there are no namespaces, it replays a
    recording made in the same lab.
    """
    from otel_dns.cli.demo_run import run

    if paged is None:
        paged = sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("CI")
    run(replayed=replayed, paged=paged)
