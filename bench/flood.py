"""A flood: many times what one processor can take, and what becomes of its memory and service.

First one sender shows what the processor takes; then forty senders together wish to send ten times
that, each on its own connection and without heeding what they are told: a request that is refused
is sent again at once. What a sender cannot get rid of in time stays with it, as in a real one's
queue.

    python -m bench.flood              a table
    python -m bench.flood --json       one flat object
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final, Self

import grpc

from bench.processor.subjects import CORE, SinkProcess, serving
from otel_dns.service.receivers.otlp_receiver import HEALTH
from otel_dns.wire import otlp
from tests.support.otlp import EXPORT
from tests.support.spans import MS, lookup, nested, servedns, span

SPANS: Final = 1000
"""Of a request: lookups with their server traces, server traces of nobody's, and other spans."""
LIMIT_MIB: Final = 512
TIMES: Final = 10
SENDERS: Final = 40
_MARK: Final = b"@@@@"


def template() -> bytes:
    """A request that becomes another one with another mark: all ids and names have it."""
    spans = []
    for number in range(SPANS // 20):
        name = f"{_MARK.decode()}-{number}.example.org."
        trace = bytes(8) + _MARK + number.to_bytes(4, "big")
        asked = lookup(0, MS, name=name, candidates=(name,), trace_id=b"\1" * 8 + trace[8:]).span
        root = servedns(0, MS, name=name, trace_id=trace)
        work = span("work", 0, MS, trace_id=asked.trace_id, origin=otlp.origin_of("shop"))
        spans += [asked, work, root, *nested(root)]
        for other in range(9):
            trace = bytes(8) + _MARK + (1000 + 10 * number + other).to_bytes(4, "big")
            spans.append(servedns(0, MS, name=f"{other}-{name}", trace_id=trace))
    return otlp.build((one.origin, one.raw) for one in spans)


class Flood:
    """Senders on connections of their own; each answer is counted by its status."""

    def __init__(self, address: str, senders: int, pace_s: float = 0.0, first: int = 0) -> None:
        """Make a flood.

        Args:
            address: of the processor.
            senders: how many.
            pace_s: how often each wishes to send a request; 0 is as fast as it goes.
            first: number of the first request; a number must not come again.
        """
        self.answers: Counter[str] = Counter()
        self.wished = 0
        self._address = address
        self._pace_s = pace_s
        self._template = template()
        self._numbers = iter(range(first, 1 << 16))
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(senders)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def next_number(self) -> int:
        """The number of a request that has not been sent."""
        return next(self._numbers)

    def _send(self) -> None:
        began, sent = time.monotonic(), 0
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._address, options=options) as channel:
            export = channel.unary_unary(EXPORT)
            while not self._ended.is_set():
                with self._lock:
                    mark = f"{next(self._numbers):04x}".encode()
                code = answer(export, self._template.replace(_MARK, mark))
                with self._lock:
                    self.answers[code] += 1
                sent += 1
                if self._pace_s:
                    self._ended.wait(max(began + sent * self._pace_s - time.monotonic(), 0))
        if self._pace_s:
            with self._lock:
                self.wished += max(sent, int((time.monotonic() - began) / self._pace_s))


def answer(export: grpc.UnaryUnaryMultiCallable, request: bytes) -> str:
    try:
        export(request)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


# -- the measurement -------------------------------------------------------------------------------


def measure(seconds: float) -> dict[str, float]:
    """Fill a processor, flood it, and see it recover."""
    with (
        tempfile.TemporaryDirectory() as directory,
        SinkProcess() as sink,
        serving(
            sink.address,
            Path(directory),
            {
                "join": {"server_trace_wait": "20s"},
                "memory_limit": f"{LIMIT_MIB}MiB",
            },
        ) as subject,
        grpc.insecure_channel(subject.address) as channel,
    ):
        health = channel.unary_unary(HEALTH)
        others = os.sched_getaffinity(0) - {CORE} or {CORE}
        os.sched_setaffinity(0, others)
        with Flood(subject.address, 1) as one:
            began = time.monotonic()
            time.sleep(seconds / 4)
        capacity = one.answers["OK"] / (time.monotonic() - began)
        pace_s = SENDERS / (TIMES * capacity)
        resident, health_s = [], []
        with Flood(subject.address, SENDERS, pace_s, one.next_number) as flood:
            began = time.monotonic()
            while time.monotonic() < began + seconds:
                asked = time.monotonic()
                health(b"", timeout=30)
                health_s.append(time.monotonic() - asked)
                resident.append(subject.rss_mib())
                time.sleep(0.5)
            took_s = time.monotonic() - began
        ended = time.monotonic()
        export = channel.unary_unary(EXPORT)
        last = template().replace(_MARK, f"{flood.next_number:04x}".encode())
        while answer(export, last) != "OK":
            time.sleep(0.05)
        later = len(resident) // 4
        return {
            "capacity_spans_s": capacity * SPANS,
            "wished_spans_s": flood.wished * SPANS / took_s,
            "accepted_spans_s": flood.answers["OK"] * SPANS / took_s,
            "refused_spans_s": flood.answers["UNAVAILABLE"] * SPANS / took_s,
            "other_answers": sum(flood.answers.values())
            - flood.answers["OK"] - flood.answers["UNAVAILABLE"],
            "memory_limit_mib": LIMIT_MIB,
            "memory_highest_mib": subject.rss_mib("VmHWM"),
            "memory_grown_mib": max(resident[later:]) - max(resident[: later + 1]),
            "health_slowest_ms": max(health_s) * 1000,
            "takes_again_after_s": time.monotonic() - ended,
        }  # fmt: skip


def main() -> None:
    """See the module's documentation."""
    arguments = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    arguments.add_argument("--json", action="store_true", help="print one flat object")
    arguments.add_argument("--seconds", type=float, default=60, help="of the flood (60)")
    chosen = arguments.parse_args()
    figures = measure(chosen.seconds)
    if chosen.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
        return
    for name, value in figures.items():
        print(f"{name:22} {value:12,.1f}")


if __name__ == "__main__":
    main()
