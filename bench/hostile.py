"""Requests that are made to take memory, and what becomes of a processor's memory limit.

Nine connections send one kind of request after another, each as large as it may be and as fast as
it goes, to a processor of its own whose output is away. Sizes of parts are chosen so that what they
become once they are read is as much as can be for their bytes.

    python -m bench.hostile              a table
    python -m bench.hostile --json       one flat object
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

import grpc

from bench.figures import show
from bench.flood import answer
from bench.processor.subjects import serving
from otel_dns import semconv
from otel_dns.service.receivers.otlp_receiver import EXPORT_LOGS
from otel_dns.wire import otlp
from otel_dns.wire.otlp.protobuf import varint
from tests.support.otlp import EXPORT
from tests.support.processes import free_addresses

LIMIT_MIB: Final = 256
SENDERS: Final = 9
SIZE: Final = LIMIT_MIB * (1 << 20) // 64 - 1_000
"""Of a request, about: as much as the limit allows."""


def field(number: int, *inner: bytes) -> bytes:
    """Encode a length-delimited field."""
    value = b"".join(inner)
    return bytes((number << 3 | 2,)) + varint(len(value)) + value


def full_of(one: bytes) -> bytes:
    """Repeat something until a request is full."""
    return one * (SIZE // len(one))


def scoped(*items: bytes, resource: bytes = b"") -> bytes:
    """Make a request of one scope; an empty part of a message is as good as none."""
    return field(1, field(1, resource), field(2, *items))


def counted(name: bytes, size: int) -> bytes:
    """Make spans of so many bytes with ids that differ."""
    spans = (
        field(2, field(1, number.to_bytes(16)), field(2, number.to_bytes(8)), name)
        for number in range(1, SIZE // size)
    )
    return b"".join(spans)


IDS: Final = field(1, bytes(range(1, 17))) + field(2, bytes(range(1, 9)))
EMPTY: Final = field(9, field(1, b"ab"), field(2))
"""An attribute of six bytes."""
COREDNS: Final = otlp.string_attribute(semconv.SERVICE_NAME, "coredns", field=1)
NAME: Final = field(5, b"x" * 18)

TRACES: Final = {
    "sound_text": scoped(field(2, IDS, field(9, field(1, b"a"), field(2, field(1, b"a" * SIZE))))),
    "nonsense": b"\xff" * SIZE,
    "attributes": scoped(field(2, IDS, full_of(EMPTY))),
    "attributes_with_keys": scoped(field(2, IDS, full_of(field(9, field(1, b"abcd"), field(2))))),
    "attributes_of_many_spans": scoped(full_of(field(2, IDS, EMPTY * 20))),
    "attributes_of_coredns": scoped(full_of(field(2, IDS, EMPTY * 20)), resource=COREDNS),
    "attributes_beside_coredns": scoped(field(2, IDS, NAME), resource=COREDNS)
    + scoped(full_of(field(2, IDS, EMPTY * 20))),
    "attributes_of_a_resource": scoped(field(2, IDS), resource=full_of(b"\x0a" + EMPTY[1:])),
    "values": scoped(field(2, IDS, field(9, field(2, field(5, full_of(field(1, b"\x0a\3abc"))))))),
    "events": scoped(field(2, IDS, full_of(field(11, field(2, b"abcd"))))),
    "spans_of_2_bytes": scoped(full_of(field(2, b"aa"))),
    "spans_with_ids": scoped(full_of(field(2, IDS))),
    "spans_with_names": scoped(full_of(field(2, IDS, NAME)), resource=COREDNS),
    "spans_that_differ": scoped(counted(NAME, 54), resource=COREDNS),
    "resources": full_of(field(1, field(1, b"\x1a\x08abcdefgh"), field(2, field(2, b"abcdef")))),
}
LOGS: Final = {
    "records": scoped(full_of(field(2, b"\x1a\2aa"))),
    "records_with_attributes": scoped(full_of(field(2, b"\x32" + EMPTY[1:]))),
    "attributes_of_a_record": scoped(field(2, full_of(b"\x32" + EMPTY[1:]))),
}


def measure(path: str, request: bytes, seconds: float) -> tuple[float, Counter[str]]:
    """Send a request over and over; returns MiB of memory at its highest, and the answers."""
    answers: Counter[str] = Counter()
    (away,) = free_addresses(1)
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(away, Path(directory), {"memory_limit": f"{LIMIT_MIB}MiB"}) as subject,
    ):
        ends = time.monotonic() + seconds
        senders = [
            threading.Thread(target=_send, args=(subject.address, path, request, ends, answers))
            for _ in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert subject.process.poll() is None
        return subject.rss_mib("VmHWM"), answers


def _send(address: str, path: str, request: bytes, ends: float, answers: Counter[str]) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        export = channel.unary_unary(path)
        while time.monotonic() < ends:
            answers[answer(export, request)] += 1


def main() -> None:
    """See the module's documentation."""
    arguments = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__)
    arguments.add_argument("--json", action="store_true", help="print one flat object")
    arguments.add_argument("--seconds", type=float, default=10, help="of each kind (10)")
    chosen = arguments.parse_args()
    kinds = {name: (EXPORT, request) for name, request in TRACES.items()}
    kinds |= {f"log_{name}": (EXPORT_LOGS, request) for name, request in LOGS.items()}
    figures: dict[str, float | int | str] = {"memory_limit_mib": LIMIT_MIB}
    for name, (path, request) in kinds.items():
        print(f"{name}: {len(request) / (1 << 20):.1f} MiB a request", file=sys.stderr)
        highest, answers = measure(path, request, chosen.seconds)
        figures[f"{name}_mib"] = round(highest, 1)
        figures |= {f"{name}_{code.lower()}": number for code, number in sorted(answers.items())}
    show(figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
