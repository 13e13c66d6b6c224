"""``python -m otel_dns.lab.capture``: write down, unchanged, what telemetry sources send.

OTLP over gRPC, Zipkin over HTTP and dnstap over TCP. Every file is complete up to the last message
received, at any time. ``capture_files`` starts it and reads the files.
"""

import argparse
import contextlib
import gzip
import http.server
import signal
import socketserver
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import Final

import grpc

from otel_dns.lab import delimited
from otel_dns.wire import frame_streams
from otel_dns.wire.frame_streams import Control, ControlType, Data, Decoder

TRACES: Final = "traces.otlp"
METRICS: Final = "metrics.otlp"
LOGS: Final = "logs.otlp"
ZIPKIN: Final = "zipkin.jsonl"
DNSTAP: Final = "dnstap.fstrm"
READY: Final = "capture is ready"

_OTLP: Final = {
    "opentelemetry.proto.collector.trace.v1.TraceService": TRACES,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": METRICS,
    "opentelemetry.proto.collector.logs.v1.LogsService": LOGS,
}
_DNSTAP_TYPES: Final = (frame_streams.DNSTAP_CONTENT_TYPE,)


class Sink:
    """A file that several threads append whole records to."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._lock = threading.Lock()

    def append(self, record: bytes) -> None:
        """Append one record; it is in the file when this returns."""
        with self._lock:
            self._file.write(record)


def serve_otlp(address: str, directory: Path) -> grpc.Server:
    """Take traces, metrics and logs by OTLP; one file each."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4),
        options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
    )
    for service, file in _OTLP.items():
        sink = Sink(directory / file)

        def export(request: bytes, _: grpc.ServicerContext, sink: Sink = sink) -> bytes:
            sink.append(delimited.encode(request))
            return b""  # An empty Export...ServiceResponse: all was taken.

        # No (de)serialiser: bytes in, bytes out.
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(export)
        handlers = grpc.method_handlers_generic_handler(service, {"Export": method})
        server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(address)
    server.start()
    return server


def zipkin_handler(sink: Sink) -> type[http.server.BaseHTTPRequestHandler]:
    """Take Zipkin v2 JSON; every POST body becomes one line."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            # A raw line break in JSON can only stand between tokens.
            sink.append(body.replace(b"\n", b" ") + b"\n")
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    return Handler


def dnstap_handler(sink: Sink) -> type[socketserver.BaseRequestHandler]:
    """Take frame streams of dnstap; the data frames of all connections go into one stream."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # who taps was killed
                self._handle()

        def _handle(self) -> None:
            decoder = Decoder()
            while data := self.request.recv(1 << 16):
                try:
                    for frame in decoder.feed(data):
                        self._take(frame)
                except frame_streams.FrameError as error:
                    sys.stderr.write(f"dnstap from {self.client_address}: {error}\n")
                    return

        def _take(self, frame: frame_streams.Frame) -> None:
            if isinstance(frame, Data):
                sink.append(frame_streams.encode_data(frame.payload))
            elif frame.type is ControlType.READY:
                self._answer(Control(ControlType.ACCEPT, _DNSTAP_TYPES))
            elif frame.type is ControlType.STOP:
                self._answer(Control(ControlType.FINISH))

        def _answer(self, control: Control) -> None:
            self.request.sendall(frame_streams.encode_control(control))

    return Handler


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _in_background(server: socketserver.BaseServer) -> None:
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="otel_dns.lab.capture")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--host", required=True)
    for port in ("--otlp-port", "--zipkin-port", "--dnstap-port"):
        parser.add_argument(port, type=int)
    arguments = parser.parse_args()
    # Blocked before any thread starts, so that they inherit it and only sigwait sees it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    directory, host = arguments.directory, arguments.host
    directory.mkdir(parents=True, exist_ok=True)
    otlp: grpc.Server | None = None
    dnstap: Sink | None = None
    if arguments.otlp_port is not None:
        otlp = serve_otlp(f"{host}:{arguments.otlp_port}", directory)
    if arguments.zipkin_port is not None:
        handler = zipkin_handler(Sink(directory / ZIPKIN))
        _in_background(http.server.ThreadingHTTPServer((host, arguments.zipkin_port), handler))
    if arguments.dnstap_port is not None:
        dnstap = Sink(directory / DNSTAP)
        dnstap.append(frame_streams.encode_control(Control(ControlType.START, _DNSTAP_TYPES)))
        _in_background(_TcpServer((host, arguments.dnstap_port), dnstap_handler(dnstap)))
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    if otlp is not None:
        otlp.stop(grace=1).wait()
    if dnstap is not None:
        dnstap.append(frame_streams.encode_control(Control(ControlType.STOP)))


if __name__ == "__main__":
    main()
