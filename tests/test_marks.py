import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_dns import marks
from otel_dns.marks import TraceContext
from tests.support.marks import letters_in_case

IDS = st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))
LABELS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=63)
NAMES = st.lists(LABELS, min_size=1, max_size=6).map(".".join).filter(lambda name: len(name) < 254)


@given(NAMES, IDS, NAMES)
def test_a_mark_is_found_again(name: str, ids: tuple[bytes, bytes], domain: str) -> None:
    marked = marks.cased(name, *ids)
    letters = sum(character.isalpha() for character in name)
    assert marked.lower() == name.lower()
    assert marks.cased(name.swapcase(), *ids) == marked
    for asked in (marked, marked + ".", f"{marked}.{domain}."):
        assert letters_in_case(asked, name, *ids) == letters
        assert letters_in_case(asked, name.upper() + ".", *ids) == letters
    if letters:
        assert letters_in_case(marked.swapcase(), name, *ids) == 0
    assert letters_in_case("x" + marked, name, *ids) == 0 or letters == 0
    assert letters_in_case(marked + "x", name, *ids) == 0


@given(st.text(), st.text(), IDS)
def test_any_text_is_taken(asked: str, name: str, ids: tuple[bytes, bytes]) -> None:
    assert letters_in_case(asked, name, *ids) >= 0
    assert marks.cased(name, *ids).casefold() == name.casefold()


def test_strangers_agree_by_chance_only() -> None:
    name = "abcdefghij"
    mine = marks.cased(name, bytes(16), bytes(8))
    strangers = [(bytes(16), number.to_bytes(8)) for number in range(1, 20_001)]
    agreed = sum(bool(letters_in_case(mine, name, *ids)) for ids in strangers)
    assert 5 <= agreed <= 40  # about 20: one in 1024


def test_the_mark_is_part_of_the_contract() -> None:
    # Client and processor may be of different versions.
    assert marks.cased("payments.shop.svc.cluster.local", b"t" * 16, b"s" * 8) == (
        "payMEnts.SHoP.SvC.CLUstER.loCal"
    )
    assert marks.cased("10-0-0-1", b"t" * 16, b"s" * 8) == "10-0-0-1"


@given(IDS, st.integers(0, 255), st.booleans())
def test_traceparent_there_and_back(ids: tuple[bytes, bytes], flags: int, short: bool) -> None:
    context = TraceContext(ids[0], b"" if short else ids[1], flags)
    data = marks.encode_traceparent(context)
    assert len(data) == (19 if short else 27)
    valid = any(ids[0]) and (short or any(ids[1]))
    assert marks.decode_traceparent(data) == (context if valid else None)


@given(st.binary(max_size=40))
def test_any_option_is_taken(data: bytes) -> None:
    found = marks.decode_traceparent(data)
    # The reserved byte is not looked at.
    assert found is None or marks.encode_traceparent(found)[2 : len(data)] == data[2:]


@pytest.mark.parametrize(
    "context",
    [
        TraceContext(b"", b"", 0),
        TraceContext(bytes(16), b"1", 0),
        TraceContext(bytes(16), b"", 256),
    ],
)
def test_what_is_no_context(context: TraceContext) -> None:
    with pytest.raises(ValueError, match="no trace context"):
        marks.encode_traceparent(context)
