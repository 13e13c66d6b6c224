"""SIGHUP: new settings are taken under load, and nothing is lost over it."""

import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from otel_dns.service.outputs.fan_out import Outputs
from otel_dns.wire import otlp
from tests.service.support import Backend, balanced, get, serving, settings_of
from tests.service.test_output import program
from tests.support.otlp import forward
from tests.support.processes import answers, free_addresses
from tests.support.spans import MS, lookup, servedns, span
from tests.support.waiting import eventually

OTHER = otlp.origin_of("checkout")


@contextmanager
def load(address: str) -> Iterator[list[bytes]]:
    """Sends spans all the time; the ids of those accepted."""
    accepted: list[bytes] = []
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.005):
            work = span("work", 0, MS, origin=OTHER)
            forward(address, otlp.build([(work.origin, work.raw)]))
            accepted.append(work.span_id)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield accepted
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_a_hangup_under_load_changes_outputs_and_loses_nothing(tmp_path: Path) -> None:
    otlp_address, http = free_addresses(2)
    file, log = tmp_path / "otel-dns.yaml", tmp_path / "serve.log"

    def write(**settings: object) -> None:
        file.write_text(yaml.safe_dump(settings))

    def said(words: str) -> None:
        eventually(lambda: words in log.read_text(), words)

    with Backend() as first, Backend() as second:
        write(outputs=[{"endpoint": first.address}], join={"settle": "5s"})
        arguments = ("--config", str(file), "--otlp-listen", otlp_address, "--http-listen", http)
        with program(log, *arguments) as process:
            eventually(lambda: answers(f"http://{http}/readyz"), "ready")
            with load(otlp_address) as accepted:
                eventually(lambda: len(accepted) > 50, "some load")
                write(
                    outputs=[{"endpoint": second.address}],
                    join={"settle": "2s", "clocks": "agree"},
                    receivers={"max_waiting": "1MiB"},
                )
                process.send_signal(signal.SIGHUP)
                said("changed: join.settle, outputs")
                said("these change with a restart only: receivers.max_waiting, join.clocks")
                now = len(accepted)
                eventually(lambda: len(accepted) > now + 50, "more load")
                write(outptus=[])
                process.send_signal(signal.SIGHUP)
                said("the settings stay as they were: outptus: ")
                eventually(lambda: len(second.spans) > 50, "some at the second")
            eventually(lambda: len(first.spans) + len(second.spans) == len(accepted), "all of them")
            eventually(lambda: json.loads(get(f"http://{http}/ledger")[1])["balanced"], "a balance")
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0, log.read_text()
    arrived = Counter(one.span_id for one in [*first.spans, *second.spans])
    assert arrived == Counter(accepted)


def test_what_is_sent_on_changes_for_what_leaves_from_then_on() -> None:
    with Backend() as backend, serving(backend.address, export__what="lookups") as running:

        def send(name: str) -> None:
            spans = [lookup(0, MS, name=name, candidates=(name,)).span, servedns(0, MS, name=name)]
            forward(running.otlp, otlp.build((one.origin, one.raw) for one in spans))

        send("a.")
        eventually(lambda: backend.names == ["dns.lookup"], "the lookup alone")
        changed = settings_of(backend.address, export__what="all")
        assert running.service.reload(changed)[0] == ["export.what"]
        send("b.")
        eventually(lambda: backend.names == ["dns.lookup", "dns.lookup", "servedns"], "all of it")
        balanced(running)


def test_an_output_that_leaves_sends_what_it_holds_and_its_counts_stay() -> None:
    (late,) = free_addresses(1)
    with Backend() as well, serving(well.address, late) as running:
        raw = otlp.build([(OTHER, span("waits", 0, MS).raw)])
        forward(running.otlp, raw)
        eventually(lambda: well.names == ["waits"], "one of the two has it")
        running.service.reload(settings_of(well.address))
        with Backend(int(late.rpartition(":")[2])) as back:
            eventually(lambda: back.names == ["waits"], "the other has it in the end")
        forward(running.otlp, raw)
        eventually(lambda: running.count("spans_sent") == 3, "two, and one of the next")
        balanced(running)


def test_what_waits_for_room_goes_to_the_outputs_that_come() -> None:
    def named(name: str) -> bytes:
        return otlp.build([(OTHER, span(name, 0, MS).raw)])

    outputs = Outputs(settings_of("127.0.0.1:1", outputs__0__queue=1).outputs)
    outputs.start()
    with Backend() as back:
        eventually(lambda: not outputs.offer(named("full"), 1), "the queue is full")
        waiting = threading.Thread(target=outputs.send, args=(named("waits"), 1))
        waiting.start()
        outputs.change(settings_of(back.address).outputs, within_s=1)
        waiting.join()
        eventually(lambda: back.names == ["waits"], "the new output has it")
        outputs.set_deadline(0)
        outputs.stop()


def test_a_new_output_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    with Backend() as backend, serving(backend.address) as running:
        wrong = settings_of(
            backend.address, outputs__0__token_file=str(tmp_path / "none"), export__what="joined"
        )
        with pytest.raises(OSError, match="none cannot be read"):
            running.service.reload(wrong)
        assert running.service.settings.export.what == "all"
        forward(running.otlp, otlp.build([(OTHER, span("a", 0, MS).raw)]))
        eventually(lambda: backend.names == ["a"], "as before")


def test_what_needs_a_restart_is_said_until_there_was_one() -> None:
    with Backend() as backend, serving(backend.address) as running:
        changed = settings_of(
            backend.address, telemetry__traces__one_in=5, telemetry__log__level="error"
        )
        kept = ["telemetry.traces.one_in"]
        assert running.service.reload(changed) == (["telemetry.log.level"], kept)
        assert running.service.reload(changed) == ([], kept)
