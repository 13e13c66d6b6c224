"""The same questions, unchanged, on Spark over the same files: the answers are equal.

Wants pyspark (the extra ``spark``) and Java 17 or later.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ibis
import pytest

from otel_dns.history.files import files_of
from otel_dns.history.history import History
from otel_dns.history.questions import Questions
from otel_dns.history.where import Where
from tests.support.spans import SECOND
from tests.web import rows

END_S = 1_764_068_400
MINUTE = 60 * SECOND
NOW = END_S * SECOND - 30 * MINUTE
HOUR = Where(since_ns=END_S * SECOND - 60 * MINUTE, until_ns=END_S * SECOND)


pytestmark = [
    # What Spark warns of is its own: data goes to Arrow here, never to pandas.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("history")
    rows.write(directory, END_S * SECOND, 400)
    return directory


@pytest.fixture(scope="module")
def duckdb(directory: Path) -> Iterator[History]:
    with History(directory) as history:
        yield history


@pytest.fixture(scope="module")
def spark(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    session = (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    try:
        session.read.parquet(*map(str, files_of(directory))).createOrReplaceTempView("lookups")
        yield Questions(ibis.pyspark.connect(session).table("lookups"))
    finally:
        session.stop()


SLOW = "upstream:192.0.2.54:53"
QUESTIONS: dict[str, Callable[[Questions], Any]] = {
    "extent": lambda ask: ask.extent(HOUR),
    "totals": lambda ask: ask.totals(HOUR),
    "totals of some": lambda ask: ask.totals(
        Where(name="*.example*", plugin="cache", failed=False)
    ),
    "over time": lambda ask: ask.over_time(MINUTE, HOUR),
    "strains": lambda ask: ask.strains(MINUTE, NOW, HOUR),
    "by name": lambda ask: ask.by("name", HOUR, order="p95_ns"),
    "values": lambda ask: ask.values(("pod", "outcome", "bottleneck"), HOUR),
    "pods": lambda ask: ask.pods(HOUR),
    "nodes": lambda ask: ask.pods(HOUR, by="node", order="waste_queries"),
    "habits": lambda ask: ask.habits(HOUR),
    "wasted names": lambda ask: ask.wasted_names(HOUR),
    "askers": lambda ask: ask.askers(["*.example.org", "DB"], HOUR),
    "plugins": lambda ask: ask.plugins(HOUR),
    "servers": lambda ask: ask.servers(HOUR),
    "upstreams": lambda ask: ask.upstreams(HOUR),
    "subjects": lambda ask: [ask.subjects(kind, HOUR) for kind in ("own", "outside", "plugin")],
    "upstreams over time": lambda ask: ask.subjects_over_time("upstream", MINUTE, NOW, HOUR),
    "one over time": lambda ask: ask.subject_over_time("upstream", "192.0.2.54:53", MINUTE, HOUR),
    "heat map": lambda ask: ask.subject_bins("server", "coredns-0", HOUR, step_ns=MINUTE),
    "count": lambda ask: ask.count(Where(upstream="192.0.2.54")),
    "slowest": lambda ask: ask.slowest(HOUR, limit=20, offset=5),
    "one": lambda ask: ask.lookup(ask.latest(HOUR, limit=1)[0].trace_id),
    "beside": lambda ask: ask.beside(ask.earliest(HOUR, limit=40)[-1], HOUR),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_spark_and_duckdb_answer_the_same(spark: Questions, duckdb: History, name: str) -> None:
    answers = [_comparable(QUESTIONS[name](engine)) for engine in (duckdb, spark)]
    assert answers[0]
    assert answers[1] == answers[0]


def _comparable(answer: Any) -> Any:
    """As plain values; quantiles lie between two durations, and are rounded by each in its way."""
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return {
            field.name: _comparable(getattr(answer, field.name))
            for field in dataclasses.fields(answer)
        }
    if isinstance(answer, dict):
        return {key: _comparable(value) for key, value in answer.items() if key != "start"}
    if isinstance(answer, (list, tuple)):
        return [_comparable(each) for each in answer]
    return pytest.approx(answer, rel=1e-9) if isinstance(answer, float) else answer
