"""``python -m bench.fuzz``: changed real inputs through every decoder, many millions of them.

Each input is a real one (the recording, or what the real libraries write), changed at random. A
decoder may give a result or say what is :data:`SAID`; anything else is a find, and is kept in
tests/wire/found/, where a test goes through all of them for ever after.
"""

import argparse
import base64
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import dns.edns
import dns.message
import msgspec
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import otel_dns.lab
from otel_dns import resolv_conf, semconv
from otel_dns.corefile import CorefileError, check, parse
from otel_dns.join import foreign, recognise
from otel_dns.lab import delimited
from otel_dns.model import Span
from otel_dns.service.recordings.kinds import kind_of
from otel_dns.wire import (
    MalformedError,
    coredns_log,
    dns_message,
    dnstap,
    frame_streams,
    otlp,
    otlp_json,
    otlp_logs,
    zipkin,
)

_RECORDING: Final = Path(otel_dns.lab.__file__).parent / "recordings" / "demo"
_COREFILES: Final = Path(__file__).parent.parent / "collector-config" / "corefiles"
FOUND: Final = Path(__file__).parent.parent / "tests" / "wire" / "found"

_IN_BASE64: Final = re.compile(r'"(traceId|spanId|parentSpanId)": "([^"]+)"')

Decode = Callable[[bytes], object]


def _otlp(raw: bytes) -> None:
    list(otlp.read(raw))
    for group in otlp.cut(raw):
        for span in group.spans:
            read = otlp.read_span(span, group.origin)
            otlp.attributes_of(span)
            otlp.rewrite(read, bytes(16), bytes(8))


def _span(raw: bytes) -> None:
    otlp.read_span(raw, otlp.origin_of("coredns"))
    otlp.attributes_of(raw)


_CLIENT: Final = otlp.origin_of("storefront")
_FOREIGN: Final = (
    ("System.Net.NameResolution", "DNS lookup www.example.org"),
    ("@opentelemetry/instrumentation-dns", "dns.lookup"),
    ("go.opentelemetry.io/contrib/instrumentation/net/http/httptrace/otelhttptrace", "http.dns"),
    ("io.opentelemetry.netty-4.1", "RESOLVE"),
)


_RESOLV_CONFS: Final = (
    """search shop.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5 timeout:2 attempts:3 single-request
""",
    """# a host's
nameserver fe80::1%eth0
nameserver 127.0.0.53
options edns0 trust-ad
""",
)


def _said(raw: bytes) -> None:
    """Read a span as everything that a span of ours or of others can be."""
    span = otlp.read_span(raw, _CLIENT)
    recognise.lookup_of(span)
    recognise.query_of(span)
    recognise.is_lookup(span)
    recognise.server_trace_of(span)
    for scope, name in _FOREIGN:
        rule = foreign.rule_of(scope)
        assert rule is not None, scope
        adapted = foreign.adapted(msgspec.structs.replace(span, name=name), rule)
        if adapted is not None:
            recognise.lookup_of(adapted)


def _unsampled(raw: bytes) -> None:
    attributes = otlp.string_attribute(semconv.CLIENT_ADDRESS, "10.0.0.7")
    told = raw.decode("utf-8", "replace")
    attributes += otlp.string_attribute(semconv.UNSAMPLED_LOOKUPS, told)
    span = Span(bytes(16), bytes(8), b"", semconv.UNSAMPLED_SPAN, 1, 2, attributes, _CLIENT)
    recognise.unsampled_of(span)


DECODERS: Final[dict[str, Decode]] = {
    "dnstap": dnstap.decode,
    "dns_message": dns_message.read,
    "frame_streams": frame_streams.decode,
    "coredns_log": lambda raw: coredns_log.parse(raw.decode("utf-8", "surrogateescape")),
    "otlp": _otlp,
    "span": _span,
    "otlp_logs": lambda raw: list(otlp_logs.messages(raw)),
    "zipkin": zipkin.decode,
    "otlp_json": otlp_json.traces,
    "recordings": kind_of,
    "said": _said,
    "unsampled": _unsampled,
    "corefile": lambda raw: check(parse(raw.decode("utf-8", "replace"))),
    "resolv_conf": lambda raw: resolv_conf.parse(raw.decode("utf-8", "surrogateescape")),
}
_KEPT: Final = 3
"""Of each decoder and kind."""
SAID: Final = (MalformedError, frame_streams.FrameError, CorefileError)


def seeds() -> dict[str, list[bytes]]:
    """Real inputs of each decoder."""
    stream = (_RECORDING / "coredns.fstrm").read_bytes()
    payloads = [
        one.payload for one in frame_streams.decode(stream) if isinstance(one, frame_streams.Data)
    ]
    query = dns.message.make_query("www.example.org.", "AAAA", use_edns=0)
    option = dns.edns.GenericOption(dns_message.TRACEPARENT_OPTION, bytes(27))
    query.use_edns(0, options=[option, dns.edns.GenericOption(10, b"cookie!!")])
    messages = [
        query.to_wire(),
        *(one[-200:] for one in payloads[1:8]),
        *(dnstap._Dnstap.FromString(one).message.response_message for one in payloads[:12]),
    ]
    lines = (_RECORDING / "coredns.log").read_bytes().splitlines()
    record = {
        "time": "2026-11-23T09:32:53.5Z", "level": "INFO", "msg": lines[4].decode(),
        "plugin": "log", "client_ip": "10.0.0.7", "client_port": 40000, "qname": "web.",
        "qtype": "A", "protocol": "udp", "id": 4711, "rcode": "NOERROR", "response_size": 137,
        "duration_seconds": 0.000388575,
    }  # fmt: skip
    lines += [
        json.dumps(record).encode(),
        json.dumps({"log": lines[4].decode(), "time": record["time"]}).encode(),
        b"2026-11-23T09:32:53.5Z stdout F " + lines[5],
        b"10.0.0.7 - [23/Nov/2026:09:32:53 +0000] 4711 A IN web. udp 40000",
        b"debug: 000000 00 0a 01 00 00 01 00 00 00 00 00 01 07 65 78 61",
    ]
    requests = delimited.decode((_RECORDING / "client-traces.otlp").read_bytes())
    bodies = (_RECORDING / "coredns-zipkin.jsonl").read_bytes().splitlines()
    short = [json.dumps(json.loads(body)[:2]).encode() for body in bodies]
    records = [
        {"body": {"string_value": line.decode()}, "time_unix_nano": 5} for line in lines[4:7]
    ]
    logs = ExportLogsServiceRequest(
        resource_logs=[{"scope_logs": [{"log_records": records}]}]
    ).SerializeToString()
    as_json = [
        _IN_BASE64.sub(
            lambda id_: f'"{id_[1]}": "{base64.b64decode(id_[2]).hex()}"',
            json.dumps(json_format.MessageToDict(ExportTraceServiceRequest.FromString(one))),
        ).encode()
        for one in requests
    ]
    spans = [span for one in requests for group in otlp.cut(one) for span in group.spans]
    spans += [span.raw for body in bodies[:1] for span in zipkin.decode(body)[0]]
    corefiles = [path.read_bytes() for path in sorted(_COREFILES.glob("*.Corefile"))]
    return {
        "dnstap": payloads, "dns_message": [one for one in messages if one],
        "frame_streams": [stream[:600]], "coredns_log": lines, "otlp": requests, "span": spans,
        "otlp_logs": [logs], "zipkin": short, "otlp_json": as_json,
        "recordings": [stream[:400], requests[0][:400], short[0][:400], lines[4], b""],
        "said": spans, "corefile": corefiles,
        "unsampled": [b'[["www.example.org",0,4431000,""],["db",1200,88000,"host_not_found"]]'],
        "resolv_conf": [one.encode() for one in _RESOLV_CONFS],
    }  # fmt: skip


def changed(seed: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Change an input in one to four places; half of the inputs keep their length."""
    raw = bytearray(seed)
    if raw and chance.random() < 0.5:
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        return bytes(raw)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(7):
            case 0:
                raw[at : at + 1] = chance.randbytes(1)
            case 1:
                del raw[at : at + chance.randint(1, 9)]
            case 2:
                raw[at:at] = chance.randbytes(chance.randint(1, 9))
            case 3:
                raw[at : at + 1] = bytes((chance.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF)),))
            case 4:
                del raw[at:]
            case 5:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                raw[at:at] = other[start : start + chance.randint(1, 60)]
            case _:
                piece = raw[at : at + chance.randint(1, 30)]
                raw[at:at] = piece * chance.randint(1, 3)
    return bytes(raw)


def inputs(count: int, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Give so many inputs, shared evenly among the decoders."""
    known = seeds()
    names = list(DECODERS)
    for number in range(count):
        name = names[number % len(names)]
        yield name, changed(chance.choice(known[name]), known[name], chance)


def main() -> None:
    """Run; exit code 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rest", type=float, default=0.0, help="seconds of rest every 10,000")
    arguments = parser.parse_args()
    started = time.monotonic()
    outcomes: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    finds = 0
    for number, (name, raw) in enumerate(
        inputs(arguments.inputs, random.Random(arguments.seed)), 1
    ):
        before = time.perf_counter()
        try:
            DECODERS[name](raw)
        except SAID:
            outcomes[f"{name} refused"] += 1
        except Exception as error:  # noqa: BLE001 this is what is looked for
            finds += 1
            kind = type(error).__name__
            before_it = outcomes[f"{name} {kind}"]
            outcomes[f"{name} {kind}"] += 1
            if before_it < _KEPT:
                FOUND.mkdir(exist_ok=True)
                (FOUND / f"{name}-{kind}-{before_it}").write_bytes(raw)
                print(f"found in {name}: {repr(error)[:200]}", flush=True)
        else:
            outcomes[f"{name} taken"] += 1
        slowest[name] = max(slowest.get(name, 0.0), time.perf_counter() - before)
        if number % 10_000 == 0:
            time.sleep(arguments.rest)
            if number % 1_000_000 == 0:
                print(f"{number:,} inputs, {time.monotonic() - started:.0f} s", flush=True)
    took = time.monotonic() - started
    print(f"{arguments.inputs:,} inputs in {took:.0f} s, seed {arguments.seed}, {finds} finds")
    for outcome, count in sorted(outcomes.items()):
        print(f"  {outcome:30} {count:>10,}")
    for name, longest in sorted(slowest.items()):
        print(f"  slowest of {name:19} {longest * 1000:>8.1f} ms")
    sys.exit(1 if finds else 0)


if __name__ == "__main__":
    main()
