"""Takes OTLP in a process of its own and counts spans: `python -m bench.processor.sink`.

It prints its address, then answers every line on its standard input with the number of spans that
have come.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from otel_dns.wire import otlp
from tests.support.otlp import EXPORT


class Sink:
    def __init__(self) -> None:
        self.spans = 0
        self._lock = threading.Lock()

    def take(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        spans = sum(len(group.spans) for group in otlp.cut(request))
        with self._lock:
            self.spans += spans
        return b""


def main() -> None:
    sink = Sink()
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
    _, service, method = EXPORT.split("/")
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler(
            service, {method: grpc.unary_unary_rpc_method_handler(sink.take)}
        ),
    ))  # fmt: skip
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    for _ in sys.stdin:
        print(sink.spans, flush=True)


if __name__ == "__main__":
    main()
