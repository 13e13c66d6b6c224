"""CoreDNS's real lines, through the real Collector, to otel-dns as messages."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest

from otel_dns.model import Message
from otel_dns.service import configuration
from otel_dns.service.receivers.intake import OtlpIntake
from otel_dns.service.receivers.otlp_receiver import OtlpReceiver
from otel_dns.service.sorting import Incoming
from tests.collector.conftest import Collector, Neighbours
from tests.support.processes import free_addresses
from tests.support.programs import require
from tests.support.waiting import eventually

COREFILE = """\
.:{port} {{
    bind 127.0.0.1
    {metadata}
    {log}
    {trace}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
PLAIN = ("", "log", "")
OURS = (
    "metadata",
    'log . "{common} {/trace/traceid}"',
    "trace zipkin http://127.0.0.1:9/api/v2/spans {\n        every 1\n    }",
)


@pytest.fixture
def taken(neighbours: Neighbours) -> Iterator[list[Message]]:
    """What otel-dns takes of the logs."""
    messages: list[Message] = []

    def offer(incoming: Incoming, size: int, timeout_s: float) -> bool:
        messages.extend(incoming.messages)
        return True

    settings = configuration.load(options=[("receivers.otlp.listen", neighbours.otel_dns)])
    receiver = OtlpReceiver(settings, OtlpIntake(settings, offer, lambda request, spans: True))
    receiver.start()
    yield messages
    receiver.stop()


@pytest.mark.parametrize(
    ("corefile", "arguments", "sampled"),
    [
        (PLAIN, [], False),
        (OURS, [], True),
        (OURS, ["-log-format=json"], True),
    ],
    ids=["log", "ours", "json"],
)
def test_lines_become_messages(  # noqa: PLR0917 - fixtures
    corefile: tuple[str, str, str],
    arguments: list[str],
    sampled: bool,
    collector: Callable[..., Collector],
    taken: list[Message],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata, log, trace = corefile
    port = free_addresses(1)[0].rpartition(":")[2]
    (tmp_path / "Corefile").write_text(
        COREFILE.format(port=port, metadata=metadata, log=log, trace=trace)
    )
    # As the kubelet lays them out, and as containerd writes them.
    file = tmp_path / "pods" / f"kube-system_coredns-5d78c_{'0' * 8}" / "coredns" / "0.log"
    file.parent.mkdir(parents=True)
    monkeypatch.setenv("COREDNS_LOGS", f"{tmp_path}/pods/*/*/*.log")
    # From the beginning: the lines may be there before the Collector looks.
    collector("coredns-logs.yaml", "yaml:receivers::filelog/coredns::start_at: beginning")
    command = [require("coredns"), "-conf", tmp_path / "Corefile", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as coredns:
        assert coredns.stdout is not None
        try:
            eventually(lambda: asked(int(port), "ready.", timeout=1), "answers of CoreDNS")
            questions = [asked(int(port), f"Web-{number}.", timeout=60) for number in range(3)]
            with file.open("w") as written:
                lines = 0
                for line in coredns.stdout:
                    if " ready. " in line:
                        continue  # as many as it took
                    written.write(f"2026-11-23T09:32:53.5{lines:08}Z stdout F {line}")
                    lines += "web-" in line
                    if lines == 3:
                        break
        finally:
            coredns.terminate()
    eventually(lambda: len(taken) >= 3, "three messages")
    # CoreDNS writes a line after its answer has gone, each from a goroutine of its own: lines may
    # stand in another order than the questions were asked in.
    assert sorted((one.dns_id, one.name, one.type) for one in taken) == sorted(questions)
    for number, one in enumerate(taken):
        told = (one.kind, one.client, one.rcode, one.proto, one.server)
        assert told == ("CR", "127.0.0.1", "NXDOMAIN", "udp", "coredns-5d78c")
        written_ns = 1_795_426_373_500_000_000 + number
        # JSON has CoreDNS's own time, which is nearer than the runtime's.
        assert one.time_ns > written_ns if arguments else one.time_ns == written_ns
        assert 0 < one.time_ns - one.query_time_ns < 60_000_000_000
        assert one.client_port
        assert len(one.trace_id) == (8 if sampled else 0)


def asked(port: int, name: str, timeout: float) -> tuple[int, str, str] | None:
    """Ask CoreDNS; what was asked, or nothing where no answer came."""
    query = dns.message.make_query(name, "AAAA")
    try:
        dns.query.udp(query, "127.0.0.1", port=port, timeout=timeout)
    except (OSError, dns.exception.Timeout):
        return None
    return query.id, name.lower(), "AAAA"
