"""Tables fit the terminal: figures stay whole, names and ids give way, spare columns go."""

from dataclasses import dataclass

import pytest
from rich.console import Console

from otel_dns.cli.tables import field, table

DAY_NS = 1_795_824_000_000_000_000


@dataclass(frozen=True, slots=True)
class Row:
    start_ns: int
    took: int
    name: str
    outcome: str
    queries: int
    pod: str
    node: str
    trace: str


COLUMNS = (
    field("start (UTC)", "when", "start_ns"), field("took", "duration", "took"),
    field("name", "name", "name"), field("outcome", "name", "outcome"),
    field("queries", "count", "queries"), field("Pod", "name", "pod"),
    field("node", "name", "node"), field("trace", "id", "trace"),
)  # fmt: skip
ROWS = [
    Row(DAY_NS + at, 1_234_567_890, "a-rather-long-name.partner.slow.example", "timeout", 12345,
        "payments/ledger-66bd9f-q7t5r", "ip-10-0-1-2.internal", "0123456789abcdef" * 2)
    for at in (0, 3_723_004_000_000)
]  # fmt: skip


def _drawn(rows: list[Row], width: int) -> list[str]:
    console = Console(width=500, no_color=True)
    with console.capture() as captured:
        console.print(table(rows, COLUMNS, width=width))
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("width", [70, 80, 100, 120, 200])
def test_figures_and_the_beginning_of_ids_stay_whole(width: int) -> None:
    heading, *lines = _drawn(ROWS, width)
    assert max(map(len, (heading, *lines))) <= width
    for line in lines:
        assert "1.23 s" in line
        assert "01234567" in line
    assert ("node" in heading) == (width >= 100)
    assert ("2026-11-28" in lines[0]) == (width == 200)
    assert "01:02:03.004" in lines[1]


@pytest.mark.parametrize("width", [30, 40, 60])
def test_where_there_is_little_room_columns_go_and_figures_stay_whole(width: int) -> None:
    heading, *lines = _drawn(ROWS, width)
    assert max(map(len, (heading, *lines))) <= width
    assert heading.startswith("start (UTC)")
    assert all("1.23 s" in line for line in lines)
    assert all("01234567" in line for line in lines) == (width == 60)


def test_what_a_row_is_of_is_never_left_out() -> None:
    columns = (field("node", "name", "node"), *COLUMNS[1:6])
    console = Console(width=500, no_color=True)
    with console.capture() as captured:
        console.print(table(ROWS, columns, width=50))
    assert captured.get().startswith("node")


def test_times_of_several_days_keep_theirs() -> None:
    lines = _drawn([ROWS[0], Row(DAY_NS * 2, 1, "x", "ok", 1, "", "", "")], 80)
    assert "2026-11-28 00:00:00.000" in lines[1]
