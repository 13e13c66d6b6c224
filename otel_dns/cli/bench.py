"""``otel-dns bench``: measurements of this program, from a clone of its repository."""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import click

import otel_dns
from otel_dns.cli.progress import Steps


@click.group()
def bench() -> None:
    """Measure how right and how fast otel-dns is. Runs in a clone of the repository."""


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print one flat JSON object.")
@click.option(
    "-c", "--condition", "conditions", multiple=True, metavar="NAME",
    help="A load to look at; may be given several times. Default: all.",
)  # fmt: skip
@click.option(
    "-v", "--view", "views", multiple=True, metavar="NAME",
    help="What of it the join gets to see; may be given several times. Default: spans with and "
    "without dnstap for every load, and for two of them every view.",
)  # fmt: skip
@click.option(
    "-s", "--seed", "seeds", multiple=True, type=int,
    help="May be given several times. Default: those on which nothing was tuned.",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="The first seed only.")
@click.option(
    "--captures", "directory", type=click.Path(path_type=Path),
    help="Where captures are kept; those that are missing are recorded in the lab first, about "
    "20 s each. Default: otel-dns/join-captures in the user's cache.",
)  # fmt: skip
@click.option("--record", "anew", is_flag=True, help="Record captures anew.")
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Processes; 0: one a core.")
@click.option("--failures", "most_failures", default=0, help="Show so many wrong sure joins a row.")
@click.option("--list", "listing", is_flag=True, help="List conditions and views, and end.")
def join(
    as_json: bool,
    conditions: Sequence[str],
    views: Sequence[str],
    seeds: Sequence[int],
    quick: bool,
    directory: Path | None,
    anew: bool,
    jobs: int,
    most_failures: int,
    listing: bool,
) -> None:
    """Measure how often the join is right, on captures whose truth is known.

    Real lookups are captured in the lab, each worker at an address of its own; then all addresses
    are masked, and what was captured goes through the join as a stream, as it would arrive. Beside
    it, on the same data: first match, tightest interval and first in first out. What the figures
    mean: docs/join-accuracy.md.
    """
    tables = _bench("bench.join.conditions")
    if listing:
        for name, condition in tables.CONDITIONS.items():
            click.echo(f"{name:14} {condition}")
        for name, view in tables.VIEWS.items():
            click.echo(f"{name:20} {view}")
        return
    _check("condition", conditions, tables.CONDITIONS)
    _check("view", views, tables.VIEWS)
    run, report = _bench("bench.join.run"), _bench("bench.join.report")
    wanted = list(seeds) or list(tables.HELD_OUT_SEEDS)
    with Steps() as steps:
        paths = run.captures(
            directory or _bench("bench.join.record").cache_directory(),
            conditions or tables.CONDITIONS,
            wanted[:1] if quick else wanted,
            progress=steps.step,
            anew=anew,
        )
        cells = run.run(paths, views=views, jobs=jobs, progress=steps.step)
    if as_json:
        click.echo(json.dumps(report.flat(cells)))
        return
    click.echo(report.markdown(cells))
    for line in report.failures(cells, most_failures):
        click.echo(line)


def _bench(module: str) -> ModuleType:
    """Import a benchmark, which a clone has and a wheel has not."""
    root = Path(otel_dns.__file__).parent.parent
    if not (root / "bench" / "join").is_dir():
        raise click.ClickException(
            "benchmarks are no part of the installed package: clone the repository, "
            "run `make check` there once, and call .venv/bin/otel-dns in it"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return importlib.import_module(module)


def _check(what: str, given: Sequence[str], known: dict[str, object]) -> None:
    for name in given:
        if name not in known:
            raise click.ClickException(
                f"no {what} is called {name!r}; --list shows which there are"
            )
