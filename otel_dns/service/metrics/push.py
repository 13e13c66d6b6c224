"""Metrics sent as OTLP, for whoever does not scrape."""

import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from otel_dns import __version__, semconv
from otel_dns.service.counts import Counts
from otel_dns.service.metrics.otlp import request_of
from otel_dns.service.metrics.series import Family

_EXPORT: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_TIMEOUT_S: Final = 10.0
_LAST_TIMEOUT_S: Final = 3.0
"""At the end others have had their time before."""

_log = logging.getLogger(__name__)


class MetricsPush:
    """Sends all series every so often, from a thread of its own.

    Series are cumulative: what one lost request held, the next one holds too, so none is tried
    again.
    """

    def __init__(
        self,
        endpoint: str,
        families: Callable[[], Iterable[Family[Any]]],
        interval_s: float,
    ) -> None:
        """Prepare to send.

        Args:
            endpoint: ``host:port`` for OTLP over gRPC, or an ``http://`` URL for OTLP over HTTP
                (Prometheus: ``http://host:9090/api/v1/otlp/v1/metrics``).
            families: gives what to send.
            interval_s: seconds between two requests.
        """
        self._endpoint = endpoint
        self._families = families
        self._interval_s = interval_s
        self._send = _over_http if urlsplit(endpoint).scheme in {"http", "https"} else _over_grpc
        self._started_ns = time.time_ns()
        self._resource = (_attribute(semconv.SERVICE_NAME, "otel-dns"),
                          _attribute(semconv.SERVICE_VERSION, __version__))  # fmt: skip
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otel-dns-metrics", daemon=True)
        self._failing = False
        self.counts = Counts()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def gauges(self) -> dict[str, int]:
        """Nothing is held here."""
        return {}

    def stop(self) -> None:
        """Send a last time, and end."""
        self._ending.set()
        if self._thread.ident is None:
            return
        self._thread.join(_TIMEOUT_S + _LAST_TIMEOUT_S)

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._ending.wait(self._interval_s)
            try:
                request = request_of(
                    self._families(), self._started_ns, time.time_ns(), self._resource
                )
                self._send(self._endpoint, request, _LAST_TIMEOUT_S if ended else _TIMEOUT_S)
            except Exception as error:  # noqa: BLE001 whatever it is, the next is tried
                self._failed(error)
            else:
                self._succeeded()

    def _failed(self, error: Exception) -> None:
        self.counts.add(metrics_push_failures=1)
        if not self._failing:
            self._failing = True
            _log.warning("%s does not take metrics (%s); said once", self._endpoint, _why(error))

    def _succeeded(self) -> None:
        self.counts.add(metrics_pushes=1)
        if self._failing:
            self._failing = False
            _log.info("%s takes metrics again", self._endpoint)


def _over_grpc(endpoint: str, request: bytes, timeout_s: float) -> None:
    # A channel a request: one every minute, and none that has to be watched meanwhile.
    with grpc.insecure_channel(endpoint) as channel:
        export: Callable[..., bytes] = channel.unary_unary(_EXPORT, None, None)
        export(request, timeout=timeout_s)


def _over_http(endpoint: str, request: bytes, timeout_s: float) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    post = urllib.request.Request(endpoint, request, headers)  # noqa: S310 - http(s) by then
    with urllib.request.urlopen(post, timeout=timeout_s) as answer:  # noqa: S310
        answer.read()


def _why(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        return f"{error.code().name}: {(error.details() or '')[:200]}"
    if isinstance(error, urllib.error.HTTPError):
        with error:
            return f"HTTP {error.code}: {error.read(200)!r}"
    return str(error)


def _attribute(key: str, value: str) -> KeyValue:
    attribute = KeyValue(key=key)
    attribute.value.string_value = value
    return attribute
