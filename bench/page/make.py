"""A large history: hours of real-shaped lookups, multiplied within DuckDB, laid out as ours is."""

import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from otel_dns.history.files import HOUR_NS, file_name, hour_name
from otel_dns.history.schema import SCHEMA
from tests.web.rows import made

SEEDS = 4000
"""Lookups that are made one by one; all others are these at other times, with other ids."""


def make(directory: Path, count: int, hours: int, end_ns: int) -> None:
    """Write so many lookups over the hours before a time."""
    first_ns = (end_ns // HOUR_NS - hours + 1) * HOUR_NS
    times = -(-count // (hours * SEEDS))
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute("SET enable_progress_bar = false")
        connection.register("seeds", pa.Table.from_pylist(list(_seeds()), SCHEMA))
        for hour in range(hours):
            begin_ns = first_ns + hour * HOUR_NS
            place = directory / hour_name(begin_ns)
            place.mkdir(parents=True, exist_ok=True)
            connection.execute(
                f"""
                COPY (
                    SELECT * REPLACE (
                        {begin_ns} + (start_ns * {times} + n * 7919) % {HOUR_NS} AS start_ns,
                        make_timestamptz(({begin_ns} + start_ns) // 1000) AS start,
                        md5(trace_id || n) AS trace_id, left(md5(span_id || n), 16) AS span_id,
                        duration_ns + n * 1009 AS duration_ns
                    ) FROM seeds, range({times}) AS t(n) ORDER BY start_ns
                ) TO '{place / file_name(1, 1)}' (FORMAT parquet, COMPRESSION zstd,
                    ROW_GROUP_SIZE 65536)
                """
            )


def _seeds() -> list[dict[str, Any]]:
    rows = list(made(0, SEEDS, 11))
    random.Random(5).shuffle(rows)
    return rows
