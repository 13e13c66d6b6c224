"""The parts, put together, started in order and stopped in order."""

import logging
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from otel_dns.service.dnstap_receiver import DnstapReceiver
from otel_dns.service.http_receiver import HttpReceiver
from otel_dns.service.metrics import MetricsPush, ResolutionMetrics, SeriesCollector
from otel_dns.service.otlp_receiver import OtlpReceiver
from otel_dns.service.output import OtlpOutput
from otel_dns.service.pipeline import Pipeline
from otel_dns.service.settings import ServeSettings
from otel_dns.service.stream import Stream

_log = logging.getLogger(__name__)


class Service(Collector):
    """A processor: receivers > pipeline > output."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self._output = OtlpOutput(
            settings.output, settings.max_output_bytes, settings.give_up_after_s
        )
        self._resolutions = ResolutionMetrics()
        self._stream = Stream(settings.join, self._output.send, [self._resolutions])
        self._pipeline = Pipeline(self._stream, settings.max_input_bytes)
        self._otlp = OtlpReceiver(settings, self._pipeline.offer, self._output.offer)
        self._dnstap = DnstapReceiver(
            settings.dnstap_listen, self._pipeline.offer, settings.dnstap_tls
        )
        self.dnstap_addresses: list[str] = []
        """Where dnstap is taken, once started."""
        self._http = HttpReceiver(
            settings, self._pipeline.offer, lambda: self.healthy, self._metrics_page
        )
        self._push = (
            MetricsPush(
                settings.metrics_output, self._resolutions.families, settings.metrics_interval_s
            )
            if settings.metrics_output
            else None
        )
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._registry.register(SeriesCollector(self._resolutions.families))

    def start(self) -> tuple[str, str]:
        """Start everything.

        Returns:
            The addresses of OTLP/gRPC and of HTTP.

        Raises:
            OSError: an address cannot be listened on; nothing runs then.
        """
        otlp_address = self._otlp.start()
        try:
            self._output.start()
            self._pipeline.start()
            self.dnstap_addresses = self._dnstap.start()
            http_address = self._http.start()
            if self._push is not None:
                self._push.start()
        except OSError:
            self._output.set_deadline(0)
            self._otlp.stop(0)
            self._dnstap.stop()
            self._pipeline.stop()
            self._output.stop()
            raise
        return otlp_address, http_address

    @property
    def healthy(self) -> bool:
        """False once the pipeline has failed: then the service is to be started anew."""
        return self._pipeline.alive

    def stop(self) -> None:
        """Stop taking, then join and send what is held: within the shutdown time."""
        self._output.set_deadline(self.settings.shutdown_s)
        self._http.stop()
        self._otlp.stop(grace_s=2.0)
        self._dnstap.stop()
        self._pipeline.stop()
        self._output.stop()
        if self._push is not None:
            self._push.stop()  # last: with what was joined at the end

    def counts(self) -> Counter[str]:
        """Everything counted so far, by name."""
        counted: Counter[str] = Counter()
        for part in (self._otlp, self._http, self._dnstap, self._output):
            counted.update(part.counts.snapshot())
        counted.update(self._stream.counts())
        if self._push is not None:
            counted.update(self._push.counts.snapshot())
        return counted

    def collect(self) -> Iterator[Metric]:
        """Give the counts to the Prometheus client."""
        for name, value in sorted(self.counts().items()):
            yield CounterMetricFamily(f"otel_dns_{name}", f"Processor: {name}.", value=value)
        gauges = self._pipeline.gauges() | self._dnstap.gauges() | self._output.gauges()
        for name, value in gauges.items():
            yield GaugeMetricFamily(f"otel_dns_{name}", f"Processor: {name}, now.", value=value)

    def _metrics_page(self, accept: str) -> tuple[bytes, str]:
        """Show all metrics; as OpenMetrics, which has exemplars, to whoever asks for that."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind
