"""``otel-dns check-corefile``: what a Corefile makes known, at which cost, and its traps."""

import json
from pathlib import Path
from typing import Final

import click

from otel_dns.corefile import CorefileError, Report, check, parse
from otel_dns.corefile.levels import RUNGS

_MARKS: Final = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
@click.option("--strict", is_flag=True, help="Warnings make the exit code 1 too.")
def check_corefile(file: Path, as_json: bool, strict: bool) -> None:
    """Tell what a Corefile lets otel-dns know, what that costs, and what in it does not work.

    FILE is a Corefile, or - for standard input. Exit code 1 when something in it does not work, 2
    when it cannot be read.

    \b
      otel-dns check-corefile collector-config/corefiles/level-2.Corefile
      kubectl -n kube-system get configmap coredns -o jsonpath='{.data.Corefile}' |
        otel-dns check-corefile -
    """
    name = "standard input" if str(file) == "-" else str(file)
    try:
        with click.open_file(str(file), encoding="utf-8", errors="replace") as opened:
            blocks = parse(opened.read())
        if not blocks:
            raise CorefileError("no server block in it")  # noqa: TRY301
    except (CorefileError, OSError) as error:
        click.echo(f"Error: {name}: {error}", err=True)
        raise SystemExit(2) from None
    report = check(blocks)
    if as_json:
        click.echo(json.dumps(_as_object(report), indent=2))
    else:
        _print(name, report)
    severities = {one.severity for one in report.findings}
    if "error" in severities or (strict and "warning" in severities):
        raise SystemExit(1)


def _print(name: str, report: Report) -> None:
    for one in report.blocks:
        level = one.level
        title = f"{name}: {' '.join(one.block.keys)}: evidence level {level.number}, {level.name}"
        click.secho(title, bold=True)
        if one.without:
            click.echo(f"  without  {one.without}")
        click.echo(f"  known    {level.known}")
        click.echo(f"  cost     {level.cost} (docs/coredns.md)")
        for number, rung in enumerate(one.rungs):
            click.echo(f"  {'joined' if not number else '':8} by {rung}: {RUNGS[rung]}")
        if not one.rungs:
            click.echo("  joined   with nothing: no query of this block is seen")
        if level.number < 2:
            click.echo(
                "  more     with `metadata` and `dnstap tcp://ADDRESS:6000 full` it is level 2:"
                " every query exactly"
            )
    if len(report.blocks) > 1:
        level = report.level
        click.secho(f"{name}: at least level {level.number}, {level.name}", bold=True)
    for finding in report.findings:
        click.secho(f"{finding.severity:8} ", fg=_MARKS[finding.severity], nl=False)
        click.echo(f"line {finding.line}: {finding.text}")
        if finding.fix:
            click.echo(f"         fix: {finding.fix}")
    if not report.findings:
        click.echo("nothing to find fault with")


def _as_object(report: Report) -> dict[str, object]:
    return {
        "level": report.level.number,
        "blocks": [
            {
                "zones": list(one.block.keys),
                "level": one.level.number,
                "name": one.level.name,
                "without": one.without,
                "known": one.level.known,
                "cost": one.level.cost,
                "joined_by": list(one.rungs),
            }
            for one in report.blocks
        ],
        "findings": [
            {"severity": one.severity, "line": one.line, "text": one.text, "fix": one.fix}
            for one in report.findings
        ],
    }
