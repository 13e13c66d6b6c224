"""A flood: memory stays bounded, refusals are counted, and service is good during and after it."""

import json
from pathlib import Path
from typing import Any, Final

import grpc

from bench.flood import Flood
from otel_dns.service.receivers.otlp_receiver import HEALTH
from otel_dns.wire import otlp
from tests.service.support import Backend, get
from tests.service.test_output import program
from tests.support.otlp import forward
from tests.support.processes import answers, free_addresses
from tests.support.spans import MS, lookup
from tests.support.waiting import eventually

REFUSALS: Final = 30
SERVING: Final = b"\x08\x01"
SENDERS: Final = 24
LIMIT: Final = 208 << 20


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
        eventually(lambda: answers(f"http://{http}/readyz"), "ready")
        health = channel.unary_unary(HEALTH)
        peaks = [resident(process.pid)]

        def ledger() -> dict[str, Any]:
            return json.loads(get(f"http://{http}/ledger")[1])

        def flooded() -> bool:
            peaks.append(resident(process.pid))
            assert health(b"", timeout=60) == SERVING
            assert answers(f"http://{http}/readyz")
            return flood.answers["UNAVAILABLE"] >= REFUSALS

        with Flood(otlp_address, SENDERS) as flood:
            eventually(flooded, "refusals")

        assert max(peaks) < LIMIT
        assert set(flood.answers) == {"OK", "UNAVAILABLE"}
        eventually(lambda: not ledger()["gates"]["join"]["held"], "all of it out")
        asked = lookup(0, MS, name="after.").span
        forward(otlp_address, otlp.build([(asked.origin, asked.raw)]))
        eventually(lambda: ledger()["gates"]["join"]["held"], "the lookup held")
        eventually(lambda: not ledger()["gates"]["join"]["held"], "all of it out")
        eventually(lambda: ledger()["balanced"], "the ledger to balance")
        taken = 50 * flood.answers["OK"] + 1
        assert ledger()["gates"]["join"]["into"]["lookup_spans"] == taken
        assert ledger()["not_taken"]["requests_turned_away"] == flood.answers["UNAVAILABLE"]
        eventually(lambda: backend.names.count("dns.lookup") == taken, "all of them sent")
        assert asked.span_id in {one.span_id for one in backend.spans}
