"""An application on OpenTracing and jaeger-client that has not moved to OpenTelemetry yet.

jaeger-client makes and sends its spans as ever; otel-dns adds the lookups to its traces. The
agent's address is JAEGER_AGENT_HOST, the service's name JAEGER_SERVICE_NAME.
"""

import os
import socket
import time

import jaeger_client

from otel_dns.client import opentracing

PATIENCE = 5.0
"""Seconds that the last spans may take to be sent."""


def main() -> None:
    """Look two names up inside of one span."""
    configuration = jaeger_client.Config(
        config={
            "sampler": {"type": "const", "param": 1},
            "local_agent": {"reporting_host": os.environ.get("JAEGER_AGENT_HOST", "127.0.0.1")},
            "reporter_flush_interval": 0.2,
        },
        service_name=os.environ.get("JAEGER_SERVICE_NAME", "orders"),
    )
    tracer = configuration.initialize_tracer()
    opentracing.instrument()
    with tracer.start_active_span("order"):
        for name in ("web", "db"):
            found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
            print(name, found[0][4][0])
    sent, give_up = tracer.close(), time.monotonic() + PATIENCE
    while not sent.done() and time.monotonic() < give_up:
        time.sleep(0.05)  # its thread sends; its future cannot be waited for from another one


if __name__ == "__main__":
    main()
