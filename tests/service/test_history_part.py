"""The history within the running processor."""

import sys
from pathlib import Path

from otel_dns.history.history import History
from otel_dns.lab import delimited
from tests.support.otlp import forward
from tests.support.processes import free_addresses, running

RECORDING = Path(delimited.__file__).with_name("recordings") / "demo"


def _serve(directory: Path, history: Path, log: Path) -> tuple[str, object]:
    otlp, http = free_addresses(2)
    command = [
        *(sys.executable, "-m", "otel_dns", "serve", "--history", str(history)),
        *("--otlp-listen", otlp, "--http-listen", http, "--settle", "0.1s"),
    ]
    # Nobody is there to take the spans: it need not try for long.
    env = {"OTEL_DNS__PAGE__LISTEN": "null", "OTEL_DNS__SHUTDOWN": "2s"}
    return otlp, running(command, env=env, log=log, ready=f"http://{http}/readyz")


def test_what_the_processor_joined_is_in_its_history_when_it_has_ended(tmp_path: Path) -> None:
    history = tmp_path / "history"
    requests = delimited.decode((RECORDING / "client-traces.otlp").read_bytes())
    otlp, process = _serve(tmp_path, history, tmp_path / "log")
    with process:  # type: ignore[attr-defined]
        for request in requests:
            forward(otlp, request)
    with History(history, threads=1) as opened:
        totals = opened.totals()
    assert totals.lookups > 3
    assert totals.joined == 0, "the server's half was not sent"


def test_a_read_only_directory_costs_the_history_only(tmp_path: Path) -> None:
    in_the_way = tmp_path / "history"
    in_the_way.write_text("")
    log = tmp_path / "log"
    _, process = _serve(tmp_path, in_the_way / "deeper", log)
    with process:  # type: ignore[attr-defined]
        pass
    assert "going on without" in log.read_text()
