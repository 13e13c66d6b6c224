"""What stands around a processor in a test: a backend that can fail, and ways to send to it."""

import gzip
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Self

import grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.service import configuration
from otel_dns.service.configuration.settings import ServeSettings
from otel_dns.service.service import Service
from otel_dns.wire import otlp
from tests.support.otlp import EXPORT
from tests.support.spans import CLIENT
from tests.support.waiting import eventually

Behaviour = Callable[[bytes, grpc.ServicerContext], bytes]


def takes(request: bytes, context: grpc.ServicerContext) -> bytes:
    """The behaviour of a backend that is well."""
    return b""


def refuses(code: grpc.StatusCode, name: bytes = b"") -> Behaviour:
    """The behaviour of one that refuses requests with ``name`` in them."""

    def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
        if name in request:
            context.abort(code, "not this")
        return b""

    return behave


class Backend:
    """Takes OTLP; what it does with a request can be changed while it runs."""

    def __init__(
        self,
        port: int = 0,
        behave: Behaviour = takes,
        credentials: grpc.ServerCredentials | None = None,
        limit: int = -1,
    ) -> None:
        self.behave = behave
        self.asked = 0
        self._requests: list[bytes] = []
        self._lock = threading.Lock()
        self._server = grpc.server(
            ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", limit)]
        )
        _, service, method = EXPORT.split("/")
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        address = f"127.0.0.1:{port}"
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )
        self.metadata: dict[str, str | bytes] = {}
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.stop(None).wait()

    def _export(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.asked += 1
            self.metadata = {each.key: each.value for each in context.invocation_metadata()}
        answer = self.behave(request, context)
        with self._lock:
            self._requests.append(request)
        return answer

    @property
    def requests(self) -> list[bytes]:
        """The requests taken, to the byte."""
        with self._lock:
            return list(self._requests)

    @property
    def spans(self) -> list[ProtoSpan]:
        """The spans taken."""
        return [
            ProtoSpan.FromString(raw)
            for request in self.requests
            for group in otlp.cut(request)
            for raw in group.spans
        ]

    @property
    def names(self) -> list[str]:
        """Names of the spans taken, sorted."""
        return sorted(span.name for span in self.spans)


def settings_of(*outputs: str, settle_s: float = 0.1, **keys: object) -> ServeSettings:
    """Settings for ports of its own; others by dotted key, ``__`` for the dots."""
    options = {
        "receivers.otlp.listen": "127.0.0.1:0",
        "receivers.http.listen": "127.0.0.1:0",
        "join.settle": settle_s,
        "join.server_trace_wait": 2 * settle_s,
        "join.infer": False,  # which waits for what else the same stub may ask
        "export.what": "all",
        "outputs": [{"endpoint": output, "timeout": 60} for output in outputs],
        "shutdown": 30,
    } | {key.replace("__", "."): value for key, value in keys.items()}
    return configuration.load(options=options.items())


@contextmanager
def serving(output: str, *more: str, settle_s: float = 0.1, **keys: object) -> Iterator["Running"]:
    """A processor on ports of its own, stopped at the end; all that it took is accounted for."""
    service = Service(settings_of(output, *more, settle_s=settle_s, **keys))
    running = Running(service, service.start())
    try:
        yield running
    finally:
        running.stop()
    assert undocumented([*service.counts(), *service.gauges()]) == []
    assert not service.ledger().unaccounted
    assert not service.gauges()["requests_open"]


def undocumented(names: Iterable[str]) -> list[str]:
    """The names of counts that docs/processor.md does not tell of."""
    whole, beginnings = _documented()
    return [name for name in names if name not in whole and not name.startswith(beginnings)]


@cache
def _documented() -> tuple[frozenset[str], tuple[str, ...]]:
    text = (Path(__file__).parents[2] / "docs" / "processor.md").read_text()
    names = re.findall(r"`([a-z_]+)`", text)
    return frozenset(names), tuple(re.findall(r"`([a-z_]+)\.\.\.`", text))


class Running:
    """A processor that runs, with its addresses."""

    def __init__(self, service: Service, addresses: dict[str, str]) -> None:
        self.service = service
        self.otlp = addresses["otlp"]
        self.http = f"http://{addresses['http']}"
        self._stopped = False

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self.service.stop()

    def count(self, name: str) -> int:
        return self.service.counts()[name]

    def counted(self, name: str, value: int) -> None:
        """Wait for a count: an output counts what it has sent after its backend has it."""
        eventually(lambda: self.count(name) == value, f"{value} {name}")


def balanced(running: Running) -> None:
    """Wait for the ledger to balance: nothing that came in is unaccounted for."""
    eventually(lambda: not running.service.ledger().unaccounted, "the ledger to balance")


def post(url: str, body: bytes, headers: dict[str, str] | None = None, timeout: float = 60) -> int:
    """POST, and return the status."""
    request = urllib.request.Request(
        url, body, {"Content-Type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def get(url: str) -> tuple[int, str]:
    """GET, and return status and body."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def zipkin_span(number: int = 1, **changes: object) -> dict[str, object]:
    """A servedns span as CoreDNS posts it."""
    span_id = f"{number:016x}"
    return {
        "traceId": span_id,
        "id": span_id,
        "name": "servedns",
        "timestamp": 1_700_000_000_000_000,
        "duration": 400,
        "localEndpoint": {"serviceName": "coredns"},
        "tags": {
            "coredns.io/name": "db.",
            "coredns.io/type": "A",
            "coredns.io/remote": CLIENT,
        },
        **changes,
    }


def zipkin_body(*spans: object) -> bytes:
    return json.dumps(spans).encode()


def gzipped(body: bytes) -> tuple[bytes, dict[str, str]]:
    return gzip.compress(body), {"Content-Encoding": "gzip"}
