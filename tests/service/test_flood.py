"""A flood: memory stays bounded, refusals are counted, and service is good during and after it."""

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final, Self

import grpc

from otel_dns.service.otlp_receiver import HEALTH
from otel_dns.wire import otlp
from tests.service.support import Backend, get
from tests.service.test_output import program
from tests.support.otlp import EXPORT, forward
from tests.support.processes import answers, free_addresses
from tests.support.spans import MS, lookup, nested, servedns, span
from tests.support.waiting import eventually

REFUSALS: Final = 30
SERVING: Final = b"\x08\x01"
SENDERS: Final = 24
LIMIT: Final = 160 << 20
MARK: Final = b"@@@@"


def template() -> bytes:
    """A request of about 1,000 spans; another mark makes it other spans of other names."""
    spans = []
    for number in range(50):
        name = f"{MARK.decode()}-{number}.example.org."
        trace = bytes(8) + MARK + number.to_bytes(4, "big")
        asked = lookup(0, MS, name=name, candidates=(name,), trace_id=b"\1" * 8 + trace[8:]).span
        root = servedns(0, MS, name=name, trace_id=trace)
        work = span("work", 0, MS, trace_id=asked.trace_id, origin=otlp.origin_of("shop"))
        spans += [asked, work, root, *nested(root)]
        for other in range(9):
            trace = bytes(8) + MARK + (1000 + 10 * number + other).to_bytes(4, "big")
            spans.append(servedns(0, MS, name=f"{other}-{name}", trace_id=trace))
    return otlp.build((one.origin, one.raw) for one in spans)


class Flood:
    """Senders that do not heed what they are told: they send again at once."""

    def __init__(self, address: str) -> None:
        self.answers: Counter[str] = Counter()
        self._address = address
        self._template = template()
        self._numbers = iter(range(1 << 16))
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._address, options=options) as channel:
            export = channel.unary_unary(EXPORT)
            while not self._ended.is_set():
                with self._lock:
                    mark = f"{next(self._numbers):04x}".encode()
                try:
                    export(self._template.replace(MARK, mark))
                    answer = "OK"
                except grpc.RpcError as error:
                    answer = error.code().name
                with self._lock:
                    self.answers[answer] += 1


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_a_flood_is_refused_in_bounded_memory_and_service_is_good_after_it(tmp_path: Path) -> None:
    otlp_address, http = free_addresses(2)
    log = tmp_path / "serve.log"
    with Backend() as backend, grpc.insecure_channel(otlp_address) as channel, program(
        log, "--otlp-listen", otlp_address, "--http-listen", http, "--output", backend.address,
        "--settle", "0.5", "--server-trace-wait", "1", "--export", "lookups",
        OTEL_DNS__MEMORY_LIMIT=str(LIMIT),
    ) as process:  # fmt: skip
        eventually(lambda: answers(f"http://{http}/readyz"), "ready", within=60)
        health = channel.unary_unary(HEALTH)
        peaks = [resident(process.pid)]

        def ledger() -> dict[str, Any]:
            return json.loads(get(f"http://{http}/ledger")[1])

        def flooded() -> bool:
            peaks.append(resident(process.pid))
            assert health(b"", timeout=10) == SERVING
            assert answers(f"http://{http}/readyz")
            return flood.answers["UNAVAILABLE"] >= REFUSALS

        with Flood(otlp_address) as flood:
            eventually(flooded, "refusals", within=90)

        assert max(peaks) < LIMIT
        assert set(flood.answers) == {"OK", "UNAVAILABLE"}
        eventually(lambda: not ledger()["gates"]["join"]["held"], "all of it out", within=60)
        asked = lookup(0, MS, name="after.").span
        forward(otlp_address, otlp.build([(asked.origin, asked.raw)]))
        eventually(lambda: ledger()["gates"]["join"]["held"], "the lookup held")
        eventually(lambda: not ledger()["gates"]["join"]["held"], "all of it out", within=60)
        eventually(lambda: ledger()["balanced"], "the ledger to balance")
        taken = 50 * flood.answers["OK"] + 1
        assert ledger()["gates"]["join"]["into"]["lookup_spans"] == taken
        assert ledger()["not_taken"]["requests_turned_away"] == flood.answers["UNAVAILABLE"]
        assert backend.names.count("dns.lookup") == taken
        assert asked.span_id in {one.span_id for one in backend.spans}
