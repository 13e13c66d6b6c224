"""Every nanosecond of a server trace has one owner."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_dns.join import timeline
from otel_dns.join.timeline import add_up
from otel_dns.model import ServerTrace, Span
from tests.support.spans import COREDNS, T0, server_trace

US = 1000


def tree(root: tuple[int, int], *others: tuple[str, str, int, int]) -> ServerTrace:
    """A server trace in microseconds: the root ``r``, and (id, parent's id, start, end)s."""

    def make(name: str, parent: str, start: int, end: int) -> Span:
        return Span(
            bytes(16), name.encode(), parent.encode(), name,
            T0 + start * US, T0 + end * US, b"", COREDNS,
        )  # fmt: skip

    return server_trace(make("r", "", *root), [make(*other) for other in others])


@pytest.mark.parametrize(
    ("trace", "own"),
    [
        pytest.param(tree((0, 10)), {"r": 10}, id="root alone"),
        pytest.param(
            tree(
                (0, 100), ("log", "r", 10, 90), ("cache", "log", 20, 80), ("fwd", "cache", 21, 79)
            ),
            {"r": 20, "log": 20, "cache": 2, "fwd": 58},
            id="nested",
        ),
        pytest.param(
            tree((0, 100), ("a", "r", 10, 30), ("b", "r", 40, 60)),
            {"r": 60, "a": 20, "b": 20},
            id="one after the other",
        ),
        pytest.param(
            tree((0, 100), ("a", "r", 10, 50), ("b", "r", 40, 60)),
            {"r": 50, "a": 40, "b": 10},
            id="overlapping: the earlier keeps what it has",
        ),
        pytest.param(
            tree((0, 100), ("a", "r", 10, 80), ("b", "r", 20, 60)),
            {"r": 30, "a": 70},
            id="one within its sibling",
        ),
        pytest.param(
            tree((0, 50), ("prefetch", "r", 40, 900)),
            {"r": 40, "prefetch": 10},
            id="a child outlives the root",
        ),
        pytest.param(
            tree((0, 50), ("late", "r", 60, 90)), {"r": 50}, id="a child after the root's end"
        ),
        pytest.param(
            tree((10, 50), ("early", "r", 0, 20)), {"r": 30, "early": 10}, id="a child too early"
        ),
        pytest.param(
            tree((0, 50), ("a", "r", 10, 30), ("b", "a", 20, 45)),
            {"r": 30, "a": 10, "b": 10},
            id="a child outlives its parent, as a rounded microsecond makes it",
        ),
        pytest.param(
            tree((0, 50), ("orphan", "lost", 10, 30)), {"r": 30, "orphan": 20}, id="orphan"
        ),
        pytest.param(
            tree(
                (0, 99),
                ("log", "r", 10, 90),
                ("tap", "log", 15, 85),
                ("fwd", "lost", 20, 80),
                ("connect", "fwd", 30, 70),
            ),
            {"r": 19, "log": 10, "tap": 10, "fwd": 20, "connect": 40},
            id="a middle that was lost",
        ),
        pytest.param(
            tree(
                (0, 99),
                ("fwd", "r", 10, 90),
                ("connect", "fwd", 20, 40),
                ("next", "connect", 45, 80),
                ("connect2", "next", 50, 70),
            ),
            {"r": 19, "fwd": 25, "connect": 20, "next": 15, "connect2": 20},
            id="forward's next, called from within an exchange that has ended",
        ),
        pytest.param(
            tree((0, 50), ("a", "b", 10, 30), ("b", "a", 10, 30), ("c", "c", 5, 6)),
            {"r": 50},
            id="loops of parents",
        ),
        pytest.param(tree((50, 0), ("a", "r", 10, 20)), {}, id="a root that ends before it starts"),
        pytest.param(tree((0, 10), ("a", "r", 8, 2)), {"r": 10}, id="a child that does so"),
        pytest.param(
            tree(
                (0, 100), ("file", "r", 10, 50), ("connect", "file", 20, 40), ("file2", "r", 50, 60)
            ),
            {"r": 50, "file": 20, "connect": 20, "file2": 10},
            id="a plugin that repeats",
        ),
    ],
)
def test_own_times(trace: ServerTrace, own: dict[str, int]) -> None:
    found = dict(zip(trace.spans, timeline(trace).own_ns, strict=True))

    assert {span.span_id.decode(): spent for span, spent in found.items() if spent} == {
        name: spent * US for name, spent in own.items()
    }


ids = st.sampled_from("rabcdefg")
times = st.integers(0, 60)
trees = st.builds(
    lambda root, others: tree(root, *others),
    st.tuples(times, times),
    st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.one_of(ids, st.just("lost")), times, times),
        unique_by=lambda other: other[0],
        max_size=7,
    ),
)


@given(trees)
def test_the_slices_lie_side_by_side_from_the_roots_start_to_its_end(trace: ServerTrace) -> None:
    found = timeline(trace)

    root = trace.root
    assert sum(found.own_ns) == max(root.end_ns - root.start_ns, 0)
    assert found.own_ns == add_up(trace.spans, found.slices).own_ns
    position = root.start_ns
    for start_ns, end_ns, span in map(msgspec.structs.astuple, found.slices):
        assert start_ns == position
        assert end_ns > start_ns
        assert span is root or (span.start_ns <= start_ns and end_ns <= span.end_ns)
        position = end_ns


def test_a_chain_of_any_depth_is_walked() -> None:
    depth = 50_000
    chain = [(str(at), str(at - 1) if at else "r", at, 2 * depth - at) for at in range(depth)]

    assert sum(timeline(tree((0, 2 * depth), *chain)).own_ns) == 2 * depth * US
