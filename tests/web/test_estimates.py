"""Where CoreDNS traces one query in N, what is said of plugins says that it is an estimate."""

import time
from pathlib import Path
from typing import Any

import pytest

from otel_dns.history.history import History
from otel_dns.web.access import EVERYTHING
from otel_dns.web.asked import Asked, Window
from otel_dns.web.live import Live
from otel_dns.web.state import state
from otel_dns.web.subjects import servers
from tests.web import rows

EVERY = 4
LABEL = "queries with plugins' times"


def sampled(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it would be with ``every 4`` beside dnstap: one hop in four has spans."""
    for number, hop in enumerate(row["hops"]):
        hop["source"] = "dnstap" if number % EVERY else "trace"
    for plugin in row["plugins"]:
        plugin["queries"] = sum(hop["source"] == "trace" for hop in row["hops"])
    return row


@pytest.mark.parametrize(("every", "said"), [(EVERY, ": estimates"), (1, "100 %")])
def test_figures_of_plugins_say_of_how_many_queries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, said: str
) -> None:
    if every > 1:
        made = rows.lookup
        monkeypatch.setattr(rows, "lookup", lambda *args: sampled(made(*args)))
    end = time.time_ns()
    written = rows.write(tmp_path, end, 200)
    hops = [hop["source"] for row in written for hop in row["hops"]]
    with_spans = hops.count("trace") / len(hops)
    asked = Asked(Window(end - rows.HOUR_NS, end + 1), EVERYTHING)
    with History(tmp_path) as history:
        coverage = state(history, asked, Live("")).coverage
        assert servers(history, asked).traced == pytest.approx(with_spans)
    (shown,) = (one.value for one in coverage if one.label == LABEL)
    assert said in shown
    assert shown.startswith(f"{with_spans:.0%}".replace("%", " %"))
