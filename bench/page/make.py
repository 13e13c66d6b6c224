"""A large history: hours of real-shaped lookups, multiplied within DuckDB, written as ours is.

    python -m bench.page.make DIRECTORY --rows 10000000 --hours 168

No two lookups are alike: each has its own ids, moment, Pod and durations, so that what is measured
of size and time is what such a history takes.
"""

import argparse
import random
import time
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from otel_dns.history.cells import Adding, cells_path
from otel_dns.history.files import HOUR_NS, file_name, hour_name
from otel_dns.history.schema import SCHEMA, SEGMENT_COLUMNS
from otel_dns.history.store import write_file
from tests.web.rows import made

SEEDS: Final = 4000
"""Lookups that are made one by one; all others are these at other times, with other values."""
REPLICAS: Final = 30
"""Pods of each application."""
_ROWS_OF_GROUP: Final = 25_000
_FACTOR: Final = "(0.5 + (hash(span_id, n) % 1000003) / 1000003.0)"
"""How much longer all of a lookup takes than its seed."""


def make(directory: Path, count: int, hours: int, end_ns: int) -> None:
    """Write so many lookups over the hours before a time."""
    first_ns = (end_ns // HOUR_NS - hours + 1) * HOUR_NS
    an_hour = -(-count // hours)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute("SET enable_progress_bar = false")
        connection.from_arrow(pa.Table.from_pylist(list(_seeds()), SCHEMA)).create("seeds")
        for hour in range(hours):
            begin_ns = first_ns + hour * HOUR_NS
            place = directory / hour_name(begin_ns)
            place.mkdir(parents=True, exist_ok=True)
            rows = connection.sql(_sql(begin_ns, hour * an_hour, an_hour)).to_arrow_table()
            rows = rows.cast(SCHEMA)
            groups = (
                rows.slice(at, _ROWS_OF_GROUP) for at in range(0, rows.num_rows, _ROWS_OF_GROUP)
            )
            path, adding = place / file_name(1, 1), Adding()
            write_file(path, adding.through(groups))
            adding.write(cells_path(path))


def _sql(begin_ns: int, first: int, count: int) -> str:
    times = -(-count // SEEDS)
    columns = ", ".join(
        f"CAST({column} * {_FACTOR} AS BIGINT) AS {column}"
        for column in ("duration_ns", "waste_ns", *SEGMENT_COLUMNS.values())
    )
    lists = ", ".join(
        f"list_transform({name}, lambda x: {{{_fields(name)}}}) AS {name}"
        for name in ("plugins", "exchanges", "hops", "spans")
    )
    # The moment is not the seed's: its neighbours in a file are other lookups.
    at_ns = f"({begin_ns} + hash(n, span_id) % {HOUR_NS})::BIGINT"
    replica = f"(hash(span_id, n, 1) % {REPLICAS})::INT"
    return f"""
        SELECT * EXCLUDE (n) REPLACE (
            {at_ns} AS start_ns, make_timestamptz({at_ns} // 1000) AS start,
            md5(trace_id || n) AS trace_id, left(md5(span_id || n), 16) AS span_id,
            pod || '-' || {replica} AS pod,
            '10.244.' || {replica} || '.' || split_part(client, '.', 4) AS client,
            {columns}, {lists}
        ) FROM seeds, range({first // SEEDS}, {first // SEEDS + times}) AS t(n)
        QUALIFY row_number() OVER () <= {count}
        ORDER BY start_ns
        """


def _fields(name: str) -> str:
    fields = []
    for field in SCHEMA.field(name).type.value_type:
        value = f"x.{field.name}"
        if field.name.endswith("_ns") and field.name != "skew_ns":
            value = f"CAST({value} * {_FACTOR} * (0.9 + 0.2 * random()) AS BIGINT)"
        elif field.name == "trace":
            value = f"left(md5({value} || n), 16)"
        fields.append(f"{field.name}: {value}")
    return ", ".join(fields)


def _seeds() -> list[dict[str, Any]]:
    rows = list(made(0, SEEDS, 11))
    random.Random(5).shuffle(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page.make")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--hours", type=int, default=24)
    options = parser.parse_args()
    make(options.directory, options.rows, options.hours, time.time_ns())


if __name__ == "__main__":
    main()
