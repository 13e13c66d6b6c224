"""Zipkin v2 JSON: what CoreDNS posts, and what anyone else might."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from otel_dns.wire import MalformedError, otlp, zipkin

ROOT = {
    "traceId": "2f0b2d0ff4a6f4ce",
    "id": "2f0b2d0ff4a6f4ce",
    "name": "servedns",
    "kind": "SERVER",
    "timestamp": 1700000000000123,
    "duration": 411,
    "localEndpoint": {"serviceName": "coredns"},
    "tags": {
        "coredns.io/name": "www.example.org.",
        "coredns.io/proto": "udp",
        "coredns.io/rcode": "NOERROR",
        "coredns.io/remote": "10.0.0.7",
        "coredns.io/type": "A",
    },
}
PLUGIN = {
    "traceId": "2f0b2d0ff4a6f4ce",
    "parentId": "2f0b2d0ff4a6f4ce",
    "id": "5cd1f4dd3f2f8a41",
    "name": "cache",
    "timestamp": 1700000000000200,
    "duration": 31,
    "localEndpoint": {"serviceName": "coredns"},
}


def decode(*spans: object) -> tuple[list[ProtoSpan], list[str]]:
    """Decode a POST of these spans, as protobuf reads the result."""
    good, refused = zipkin.decode(json.dumps(spans).encode())
    for span in good:
        assert span == otlp.read_span(span.raw, span.origin)
    return [ProtoSpan.FromString(span.raw) for span in good], refused


def test_coredns_spans_become_what_the_collectors_receiver_makes_of_them() -> None:
    (root, plugin), refused = decode(ROOT, PLUGIN)

    assert not refused
    assert root.trace_id.hex() == "00000000000000002f0b2d0ff4a6f4ce"
    assert root.span_id.hex() == "2f0b2d0ff4a6f4ce"
    assert root.parent_span_id == b""
    assert (root.name, root.kind) == ("servedns", ProtoSpan.SPAN_KIND_SERVER)
    assert root.start_time_unix_nano == 1700000000000123000
    assert root.end_time_unix_nano == 1700000000000534000
    assert {one.key: one.value.string_value for one in root.attributes} == ROOT["tags"]
    assert plugin.trace_id == root.trace_id
    assert plugin.parent_span_id == root.span_id
    assert (plugin.name, plugin.kind) == ("cache", ProtoSpan.SPAN_KIND_UNSPECIFIED)
    origin = zipkin.decode(json.dumps([PLUGIN]).encode())[0][0].origin
    assert otlp.attributes_of(origin.resource, field=1) == {"service.name": "coredns"}
    assert otlp.scope_name(origin.scope) == ""


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"traceId": "0123456789abcdef0123456789abcdef"},
         lambda span: span.trace_id.hex() == "0123456789abcdef0123456789abcdef"),
        ({"traceId": "A"}, lambda span: span.trace_id == bytes(15) + b"\x0a"),
        ({"parentId": PLUGIN["id"]}, lambda span: span.parent_span_id == b""),
        ({"parentId": "0000000000000000"}, lambda span: span.parent_span_id == b""),
        ({"parentId": None, "duration": None, "name": None},
         lambda span: (span.parent_span_id, span.name) == (b"", "")),
        ({"duration": -5}, lambda span: span.end_time_unix_nano == span.start_time_unix_nano),
        ({"kind": "SOMETHING"}, lambda span: span.kind == 0),
        ({"kind": "CLIENT"}, lambda span: span.kind == ProtoSpan.SPAN_KIND_CLIENT),
        ({"tags": {"error": "true", "a": "b"}},
         lambda span: (span.status.code, len(span.attributes)) == (Status.STATUS_CODE_ERROR, 1)),
        ({"tags": {"error": "broken pipe"}},
         lambda span: span.status.code == Status.STATUS_CODE_ERROR
         and span.attributes[0].value.string_value == "broken pipe"),
        ({"annotations": [{"timestamp": 5, "value": "a|b|c"}]},
         lambda span: (span.events[0].time_unix_nano, span.events[0].name) == (5000, "a|b|c")),
        ({"shared": True, "remoteEndpoint": {"port": "?"}, "unheard": [{}]}, bool),
        ({"name": "x" * 300}, lambda span: span.name == "x" * 300),
    ],
)  # fmt: skip
def test_shapes_that_are_taken(change, check) -> None:
    (span,), refused = decode({**PLUGIN, **change})

    assert not refused
    assert check(span)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"traceId": 5},
        {"traceId": None},
        {"traceId": ""},
        {"traceId": "0" * 16},
        {"traceId": "0" * 33},
        {"traceId": "0x1f"},
        {"traceId": "+1f"},
        {"traceId": "1_f"},
        {"traceId": " 1f"},
        {"traceId": "\N{FULLWIDTH DIGIT ONE}"},
        {"traceId": "\N{ARABIC-INDIC DIGIT ONE}"},
        {"id": "-1"},
        {"id": "0"},
        {"id": "x"},
        {"id": "0" * 17},
        {"parentId": "y"},
        {"timestamp": -1},
        {"timestamp": 2**63 // 1000 + 1},
        json.dumps(PLUGIN).replace("1700000000000200", "1" + "0" * 5000).encode(),
        {"timestamp": "1700000000000123"},
        {"duration": 2**63},
        {"tags": {"a": 1}},
        {"tags": []},
        {"localEndpoint": "coredns"},
        {"name": ["servedns"]},
        {"annotations": [5]},
        5,
        None,
        "span",
        [],
    ],
    ids=lambda bad: repr(bad)[:40],
)
def test_a_bad_span_costs_the_good_ones_nothing(bad) -> None:
    if not isinstance(bad, bytes):
        bad = dump({**PLUGIN, **bad} if isinstance(bad, dict) and bad else bad)
    body = b"[%s,%s,%s]" % (dump(ROOT), bad, dump(PLUGIN))

    good, refused = zipkin.decode(body)

    assert [span.name for span in good] == ["servedns", "cache"]
    assert len(refused) == 1
    assert len(refused.first) < 500


def dump(element: object) -> bytes:
    return json.dumps(element).encode()


def test_of_a_key_given_twice_the_last_one_counts() -> None:
    raw = json.dumps([PLUGIN])[:-2] + ', "name": "log", "duration": 1}]'

    (span,), refused = zipkin.decode(raw.encode())

    assert (span.name, span.end_ns - span.start_ns, len(refused)) == ("log", 1000, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{}",
        b"null",
        b'"[]"',
        b"[",
        b"[1,]",
        b"[NaN]",
        b"[{}] x",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"a":' * 50_000,
        b"\xff\xfe[\x00]\x00",
        b"\x1f\x8b\x08\x00",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_list_is_malformed_and_what_nests_too_deep_is_refused(body: bytes) -> None:
    try:
        good, refused = zipkin.decode(body)
    except MalformedError:
        return
    assert good == []
    assert len(refused) == 1  # an element, not the list


def test_an_empty_list_is_no_spans() -> None:
    spans, refused = zipkin.decode(b"[]")

    assert spans == []
    assert not refused


def test_invalid_utf8_in_one_span_costs_the_others_nothing() -> None:
    broken = dump({**PLUGIN, "name": "NAME"}).replace(b"NAME", b"\xff\xfe")

    good, refused = zipkin.decode(b"[%s,%s]" % (broken, dump(ROOT)))

    assert [span.name for span in good] == ["servedns"]
    assert len(refused) == 1


def test_half_a_surrogate_pair_costs_only_itself() -> None:
    body = dump([{**PLUGIN, "name": "NAME"}, ROOT]).replace(b"NAME", rb"a\ud800b")

    good, refused = zipkin.decode(body)

    assert [span.name for span in good] == ["a\ufffdb", "servedns"]
    assert not refused


def test_of_a_large_body_of_rubbish_no_element_is_looked_at() -> None:
    with pytest.raises(MalformedError, match="a large body with a broken span"):
        zipkin.decode(b"[" + b"1," * (2 << 20) + b"1]")


keys = st.sampled_from([*ROOT, "parentId", "annotations", "serviceName", "value", "x"])
json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=10),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from([ROOT["traceId"], PLUGIN["id"], 1700000000000123]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(keys, st.text()), inner, max_size=4)
    ),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(st.one_of(
    json_values,
    st.dictionaries(keys, json_values, max_size=3).map(lambda change: {**ROOT, **change}),
), max_size=4))  # fmt: skip
def test_any_list_gives_every_element_one_answer(elements: list[object]) -> None:
    body = json.dumps(elements).encode()

    good, refused = zipkin.decode(body)

    assert len(good) + len(refused) == len(elements)
    request = otlp.build((span.origin, span.raw) for span in good)
    list(otlp.read(request))
    for span in good:
        assert span == otlp.read_span(span.raw, span.origin)


@given(st.binary(max_size=100), st.integers(0, 400), st.integers(0, 10))
def test_any_bytes_are_decoded_or_malformed(noise: bytes, at: int, cut: int) -> None:
    body = json.dumps([ROOT, PLUGIN]).encode()
    for hostile in (noise, body[:at] + noise + body[at + cut :]):
        try:
            good, _ = zipkin.decode(hostile)
        except MalformedError:
            continue
        for span in good:
            ProtoSpan.FromString(span.raw)


def test_the_sender_tells_instances_apart() -> None:
    body = json.dumps([ROOT]).encode()
    (one,), _ = zipkin.decode(body, "10.244.0.3")
    (other,), _ = zipkin.decode(body, "10.244.0.4")
    (unknown,), _ = zipkin.decode(body)

    assert otlp.server_instance(one.origin.resource) == "10.244.0.3"
    assert otlp.server_instance(other.origin.resource) == "10.244.0.4"
    assert otlp.server_instance(unknown.origin.resource) == "coredns"
    assert {otlp.service_name(each.origin.resource) for each in (one, other, unknown)} == {
        "coredns"
    }
