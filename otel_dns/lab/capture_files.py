"""A capture in the hands of who started it: where to send things, and what has arrived."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_dns.lab import addresses as plan
from otel_dns.lab import capture, delimited, environment
from otel_dns.lab.places import Node
from otel_dns.lab.process import LabProcess
from otel_dns.lab.session import Session
from otel_dns.wire import frame_streams


@dataclass(frozen=True, slots=True)
class Capture:
    """A running sink and its files.

    Attributes:
        process: The program; stop it to have the files closed in good order.
        directory: Where the files are.
        otlp: Where it takes OTLP over gRPC, ``host:port``; empty if it does not.
        zipkin_url: Where it takes Zipkin v2 by POST; empty if it does not.
        dnstap: Where it takes dnstap, as CoreDNS's ``dnstap`` has it; empty if it does not.
    """

    process: LabProcess
    directory: Path
    otlp: str
    zipkin_url: str
    dnstap: str

    @property
    def traces(self) -> Path:
        """``ExportTraceServiceRequest`` messages, each behind its length as a varint."""
        return self.directory / capture.TRACES

    @property
    def metrics(self) -> Path:
        """``ExportMetricsServiceRequest`` messages, likewise."""
        return self.directory / capture.METRICS

    @property
    def logs(self) -> Path:
        """``ExportLogsServiceRequest`` messages, likewise."""
        return self.directory / capture.LOGS

    @property
    def zipkin(self) -> Path:
        """POST bodies, one a line: each a JSON list of spans."""
        return self.directory / capture.ZIPKIN

    @property
    def dnstap_file(self) -> Path:
        """A frame stream of dnstap messages."""
        return self.directory / capture.DNSTAP

    def trace_requests(self) -> list[ExportTraceServiceRequest]:
        """What has arrived by OTLP traces."""
        messages = delimited.decode(self.traces.read_bytes())
        return [ExportTraceServiceRequest.FromString(each) for each in messages]

    def metric_requests(self) -> list[ExportMetricsServiceRequest]:
        """What has arrived by OTLP metrics."""
        messages = delimited.decode(self.metrics.read_bytes())
        return [ExportMetricsServiceRequest.FromString(each) for each in messages]

    def spans(self) -> list[Span]:
        """All spans that have arrived by OTLP."""
        return [
            span
            for request in self.trace_requests()
            for resource_spans in request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]

    def zipkin_spans(self) -> list[dict[str, Any]]:
        """All spans that have arrived by Zipkin."""
        lines = self.zipkin.read_bytes().split(b"\n")[:-1]
        return [span for line in lines for span in json.loads(line)]

    def dnstap_messages(self) -> list[bytes]:
        """All dnstap messages that have arrived, each a serialised ``Dnstap``."""
        frames = frame_streams.Decoder().feed(self.dnstap_file.read_bytes())
        return [frame.payload for frame in frames if isinstance(frame, frame_streams.Data)]

    def wait_for_spans(self, count: int, timeout: float = 60.0) -> list[Span]:
        """Wait until so many spans have come by OTLP; ProgramFailed if they do not."""
        self.wait_until(lambda: len(self.spans()) >= count, f"{count} spans by OTLP", timeout)
        return self.spans()

    def wait_for_zipkin_spans(self, count: int, timeout: float = 60.0) -> list[dict[str, Any]]:
        """Wait until so many spans have come by Zipkin; ProgramFailed if they do not."""
        self.wait_until(
            lambda: len(self.zipkin_spans()) >= count, f"{count} spans by Zipkin", timeout
        )
        return self.zipkin_spans()

    def wait_for_dnstap(self, count: int, timeout: float = 60.0) -> list[bytes]:
        """Wait until so many dnstap messages have come; ProgramFailed if they do not."""
        self.wait_until(
            lambda: len(self.dnstap_messages()) >= count, f"{count} dnstap messages", timeout
        )
        return self.dnstap_messages()

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Wait for something about what has arrived.

        Args:
            condition: Asked every 20 ms.
            what: What is waited for, for the error.
            timeout: Seconds.

        Raises:
            ProgramFailed: It did not come about.
        """
        self.process.wait_until(condition, f"did not get {what}", timeout)


def start(
    session: Session,
    name: str,
    directory: Path,
    *,
    otlp_port: int | None,
    zipkin_port: int | None,
    dnstap_port: int | None,
) -> Capture:
    """See ``Lab.capture``."""
    argv = [sys.executable, "-P", "-m", "otel_dns.lab.capture"]
    argv += ["--directory", str(directory.absolute()), "--host", plan.NODE]
    ports = {"--otlp-port": otlp_port, "--zipkin-port": zipkin_port, "--dnstap-port": dnstap_port}
    for option, port in ports.items():
        if port is not None:
            argv += [option, str(port)]
    process = Node(session).start(
        argv,
        name=name,
        env=environment.own_source(),
        ready=lambda process: capture.READY in process.output(),
    )
    return Capture(
        process,
        directory,
        f"{plan.NODE}:{otlp_port}" if otlp_port else "",
        f"http://{plan.NODE}:{zipkin_port}/api/v2/spans" if zipkin_port else "",
        f"tcp://{plan.NODE}:{dnstap_port}" if dnstap_port else "",
    )
