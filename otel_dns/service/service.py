"""The parts, put together, started in order and stopped in order.

To add to it:

* **an observer** (sees every outcome of the join, before any is dropped): append it to
  ``self._observers`` in ``__init__``; it has one method, :meth:`stream.Observer.observe`. One that
  also has threads or counts is a :class:`Part` too: append it to ``self._parts``.
* **a part** (anything that starts, stops, counts): give it what :class:`Part` says and append it to
  ``self._parts``. Parts start in that order, and stop in the reverse, after the receivers and the
  pipeline: whatever is joined at the end still reaches them.
* **a receiver**: a part that calls ``self._offer(incoming, bytes, timeout_s)`` and is told
  by False that there is no room; append it to ``self._receivers``. They start last, and stop
  first.
* **settings**: a section in :mod:`otel_dns.service.configuration.settings`; hand the part its own
  section. An option of the command line is a line in ``cli/serve.py`` that names the key it
  overrides.

Counts and gauges of every part are shown at ``/metrics`` by themselves.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from otel_dns.service import configuration
from otel_dns.service.configuration.settings import ServeSettings
from otel_dns.service.counts import Counts
from otel_dns.service.history_part import HistoryPart
from otel_dns.service.ledger import Ledger, lost, reading
from otel_dns.service.memory import MemoryGuard, limited, resident
from otel_dns.service.metrics import MetricsPush, ResolutionMetrics, SeriesCollector
from otel_dns.service.outputs.fan_out import Outputs
from otel_dns.service.own_traces import OwnTraces
from otel_dns.service.pipeline import Pipeline
from otel_dns.service.receivers.dnstap_receiver import DnstapReceiver
from otel_dns.service.receivers.http_receiver import HttpReceiver
from otel_dns.service.receivers.intake import OtlpIntake
from otel_dns.service.receivers.otlp_receiver import OtlpReceiver
from otel_dns.service.requests import Requests
from otel_dns.service.sorting import Incoming
from otel_dns.service.stream import Observer, Stream

_log = logging.getLogger(__name__)


_FROM_THE_START: Final = (
    "lookups_settled_early", "requests_turned_away", "server_spans_evicted",
    "zipkin_spans_dropped_full",
)  # fmt: skip
"""Shown before anything is counted: an alert on a first loss needs to see it grow from nothing."""


_RELOADED: Final = ("outputs", "join.", "export.", "shutdown", "telemetry.log.")
"""How the keys begin that :meth:`Service.reload` takes."""
_STARTED_WITH: Final = frozenset({"join.tolerance", "join.clocks", "join.relays"})
"""Keys among them that need a restart all the same."""


class Part(Protocol):
    """Something that runs within the service."""

    @property
    def counts(self) -> Counts:
        """What it has counted, by name."""

    def start(self) -> object:
        """Start; raises OSError when it cannot."""

    def stop(self) -> None:
        """Stop, having handed on what it holds; called also when it never started."""

    def gauges(self) -> Mapping[str, int]:
        """What it holds now, by name; from any thread."""


class Service(Collector):
    """A processor: receivers > pipeline > outputs, and parts beside them."""

    def __init__(self, settings: ServeSettings) -> None:
        self._itself = resident()
        self.settings = settings = limited(settings, self._itself)
        self._memory = MemoryGuard(settings.memory_limit, self._idle)
        self._requests = Requests()
        self._outputs = Outputs(settings.outputs, self._requests)
        resolutions = ResolutionMetrics(watch=settings.metrics.watch)
        self._observers: list[Observer] = [resolutions]
        self._parts: list[Part] = []
        if settings.history.keep and settings.history.directory is not None:
            history = HistoryPart(settings.history, Path(settings.history.directory))
            self._observers.append(history)
            self._parts.append(history)
        if settings.metrics.output is not None:
            self._parts.append(
                MetricsPush(
                    settings.metrics.output, resolutions.families, settings.metrics.interval
                )
            )
        self._stream = Stream(
            settings.join.settings(), self._send, self._observers, settings.export, self._requests
        )
        self._pipeline = Pipeline(self._stream, settings.receivers.max_waiting, self._requests)
        self._own_traces = OwnTraces(settings.telemetry.traces.one_in, self._outputs.offer)
        intake = OtlpIntake(
            settings,
            self._pipeline.offer,
            self._pass_on,
            self._full,
            self._own_traces.begin,
        )
        self._intake_counts = intake.counts
        scarce = self._memory.scarce
        self._otlp = OtlpReceiver(settings, intake, lambda: self.healthy, scarce)
        self._http = HttpReceiver(
            settings,
            intake,
            self._offer,
            lambda: self.healthy,
            {"/metrics": self._metrics_page, "/ledger": self._ledger_page},
            scarce=scarce,
        )
        self._dnstap = DnstapReceiver(
            settings.receivers.dnstap.listen,
            self._offer,
            settings.receivers.dnstap.tls,
            limits=settings.receivers.limits,
        )
        self._receivers: list[Part] = [self._otlp, self._dnstap, self._http]
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._registry.register(SeriesCollector(resolutions.families))

    def start(self) -> dict[str, str]:
        """Start everything.

        Returns:
            Addresses by receiver: ``otlp``, ``http``, and ``dnstap`` where it is wanted.

        Raises:
            OSError: an address cannot be listened on; nothing runs then.
        """
        self._outputs.start()
        self._pipeline.start()
        try:
            for part in (*self._parts, *self._receivers):
                part.start()
        except OSError:
            self._outputs.set_deadline(0)
            self._stop_all()
            raise
        addresses = {"otlp": self._otlp.address, "http": self._http.address}
        if self._dnstap.addresses:
            addresses["dnstap"] = ", ".join(self._dnstap.addresses)
        return addresses

    @property
    def healthy(self) -> bool:
        """False once the pipeline has failed: then the service is to be started anew."""
        return self._pipeline.alive

    def stop(self) -> None:
        """Stop taking, then join and send what is held: within the shutdown time."""
        self._outputs.set_deadline(self.settings.shutdown)
        self._stop_all()

    def reload(self, settings: ServeSettings) -> tuple[list[str], list[str]]:
        """Take other settings, as far as that goes while it runs.

        Returns:
            The keys that have changed: those in use from now on, and those that need a restart.

        Raises:
            SecretError: a file of a new output cannot be read; nothing has changed then.
        """
        settings = limited(settings, self._itself)
        keys = configuration.changed(self.settings, settings)
        taken = [key for key in keys if key.startswith(_RELOADED) and key not in _STARTED_WITH]
        if "outputs" in taken:
            self._outputs.change(settings.outputs, settings.shutdown)
        was = self.settings.join
        join = replace(settings.join, tolerance=was.tolerance, clocks=was.clocks, relays=was.relays)
        self._stream.change(join.settings(), settings.export)
        telemetry = replace(self.settings.telemetry, log=settings.telemetry.log)
        self.settings = replace(
            self.settings, outputs=settings.outputs, join=join, export=settings.export,
            shutdown=settings.shutdown, telemetry=telemetry,
        )  # fmt: skip
        return taken, [key for key in keys if key not in taken]

    def _stop_all(self) -> None:
        for part in reversed(self._receivers):
            part.stop()
        self._pipeline.stop()
        self._outputs.stop()
        for part in reversed(self._parts):
            part.stop()

    def _offer(self, incoming: Incoming, size: int, timeout_s: float) -> bool:
        """Hand spans to the pipeline, unless the memory is full; False: no room."""
        return not self._memory.full() and self._pipeline.offer(incoming, size, timeout_s)

    def _send(self, request: bytes, spans: int) -> None:
        """Send a batch, which keeps the requests of its spans open until it is out."""
        self._outputs.send(request, spans, tuple(self._stream.carried))

    def _pass_on(self, request: bytes, spans: int) -> bool:
        """Hand a whole request to the outputs; False: no room."""
        number = self._requests.begin()
        taken = self._outputs.offer(request, spans, (number,))
        self._requests.let_go((number,))
        return taken

    def _full(self, wait_s: float) -> bool:
        """Whether a request need not be read: there is no room, and it cannot wait for some."""
        return self._memory.full() or (not wait_s and self._pipeline.full)

    def _idle(self) -> bool:
        return (
            not any(self._pipeline.gauges().values())
            and not self._outputs.gauges()["output_queue_bytes"]
        )

    def counts(self) -> Counter[str]:
        """Everything counted so far, by name."""
        counted: Counter[str] = Counter(self._intake_counts.snapshot())
        counted.update(self._own_traces.counts.snapshot())
        for part in (*self._receivers, *self._parts, self._outputs):
            counted.update(part.counts.snapshot())
        counted.update(self._stream.counts())
        return counted

    def gauges(self) -> dict[str, int]:
        """Everything that is held now, by name."""
        gauges = self._pipeline.gauges() | self._outputs.gauges()
        for part in (*self._receivers, *self._parts):
            gauges.update(part.gauges())
        gauges["requests_open"] = self._requests.open
        gauges["memory_bytes"] = resident()
        gauges["memory_limit_bytes"] = self.settings.memory_limit or 0
        return gauges

    def ledger(self) -> Ledger:
        """Balance what came in with what went out; see :mod:`otel_dns.service.ledger`."""
        return reading(self.counts(), self.gauges(), self._outputs.balances())

    def collect(self) -> Iterator[Metric]:
        """Give the counts to the Prometheus client."""
        counted = self.counts()
        shown = dict.fromkeys(_FROM_THE_START, 0) | counted | {"spans_lost": lost(counted)}
        seconds = {"send_seconds": shown.pop("send_microseconds", 0) / 1e6}  # Prometheus' base unit
        for name, value in sorted((shown | seconds).items()):
            yield CounterMetricFamily(f"otel_dns_{name}", f"Processor: {name}.", value=value)
        for name, value in self.gauges().items():
            yield GaugeMetricFamily(f"otel_dns_{name}", f"Processor: {name}, now.", value=value)

    def _metrics_page(self, accept: str) -> tuple[bytes, str]:
        """Show all metrics; as OpenMetrics, which has exemplars, to whoever asks for that."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

    def _ledger_page(self, _accept: str) -> tuple[bytes, str]:
        """Show the balance."""
        shown = msgspec.json.format(msgspec.json.encode(self.ledger()), indent=2)
        return shown + b"\n", "application/json"
