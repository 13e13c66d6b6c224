"""Reading recordings: any damage is said, and nothing else comes of it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import otel_dns.lab
from otel_dns.service.recordings import Reading, read

RECORDING = Path(otel_dns.lab.__file__).parent / "recordings" / "demo"
FILES = ["client-traces.otlp", "coredns-zipkin.jsonl", "coredns.fstrm", "coredns.log"]


def directory_of(factory: pytest.TempPathFactory) -> Path:
    """One directory for all the examples."""
    return factory.getbasetemp()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(FILES),
    st.lists(
        st.tuples(st.integers(0, 40_000), st.integers(0, 9), st.binary(max_size=5)), max_size=5
    ),
)
def test_any_damage(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    changes: list[tuple[int, int, bytes]],
) -> None:
    raw = bytearray((RECORDING / name).read_bytes())
    for at, removed, inserted in changes:
        start = at % len(raw)
        raw[start : start + removed] = inserted
    path = directory_of(tmp_path_factory) / name
    path.write_bytes(raw)
    reading = Reading(frozenset({"coredns"}))
    evidence = list(read([path], reading))
    assert len(reading.files) + len(reading.damaged) >= 1
    if not changes:
        assert not reading.damaged
        assert evidence
    path.unlink()


@given(raw=st.binary(max_size=400))
@example(raw=b'[{"\x80traceId":"1"}]')
@example(raw=b'{"resourceSpans":[{"\x80":1}]}')
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = directory_of(tmp_path_factory) / "file"
    path.write_bytes(raw)
    list(read([path], Reading(frozenset())))
    path.unlink()


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    reading = Reading(frozenset())
    assert not list(read([tmp_path / "gone"], reading))
    assert reading.damaged == [f"{tmp_path / 'gone'}: No such file or directory"]
