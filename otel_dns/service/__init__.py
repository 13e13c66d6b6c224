"""The running processor: receivers, bounded queues, the pipeline, outputs, its own metrics."""

from otel_dns.service import configuration
from otel_dns.service.service import Service
from otel_dns.service.settings import ServeSettings

__all__ = ["ServeSettings", "Service", "configuration"]
