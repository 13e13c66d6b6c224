"""``otel-dns export``: lookups of the history as one file."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otel_dns.cli.asking import (
    asks,
    history_option,
    open_history,
    period_options,
    where_options,
)
from otel_dns.history.where import Where

if TYPE_CHECKING:
    import pyarrow as pa


@click.command()
@period_options("1d")
@where_options
@click.option(
    "--format", "kind", type=click.Choice(["jsonl", "csv", "parquet"]), default="jsonl",
    show_default=True, help="csv leaves out what is nested: hops, spans and the like.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="Into this file; without it, to standard output (not parquet).",
)  # fmt: skip
@history_option
@asks
def export(where: Where, kind: str, output: Path | None, place: Path | str) -> None:
    """Write the lookups of a period, with everything that was kept, as they lie in the history.

    \b
      otel-dns export --since 1h --failed > failed.jsonl
      otel-dns export --since 7d --format parquet -o week.parquet
    """
    import pyarrow.parquet as pq

    if kind == "parquet" and output is None:
        raise click.UsageError("parquet goes into a file: -o FILE")
    with open_history(place) as history:
        batches = history.batches(where)
        written = 0
        if kind == "parquet":
            with pq.ParquetWriter(output, batches.schema, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    written += batch.num_rows
        else:
            with click.open_file(str(output) if output else "-", "w", encoding="utf-8") as file:
                for number, batch in enumerate(batches):
                    _write(file, batch, kind, heading=not number)
                    written += batch.num_rows
                file.flush()
    click.echo(f"{written} lookups", err=True)


def _write(file: Any, batch: "pa.RecordBatch", kind: str, *, heading: bool) -> None:
    from pyarrow.types import is_nested

    from otel_dns.cli.answers import jsonable

    if kind == "jsonl":
        for row in batch.to_pylist():
            file.write(json.dumps(jsonable(row), ensure_ascii=False) + "\n")
        return
    flat = [field.name for field in batch.schema if not is_nested(field.type)]
    lines = csv.DictWriter(file, flat, extrasaction="ignore")
    if heading:
        lines.writeheader()
    lines.writerows(jsonable(row) for row in batch.to_pylist())
