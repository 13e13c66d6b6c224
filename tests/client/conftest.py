"""Fixtures of the client's tests."""

from collections.abc import Iterator

import pytest

import otel_dns.client
from tests.client.support import DnsServer, Telemetry


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Somewhere to record to; nothing is instrumented yet."""
    telemetry = Telemetry()
    yield telemetry
    otel_dns.client.uninstrument()
    telemetry.close()


@pytest.fixture
def recorded(telemetry: Telemetry) -> Telemetry:
    """Everything instrumented, recording to the fixture."""
    otel_dns.client.instrument(**telemetry.options)
    return telemetry


@pytest.fixture(scope="session")
def dns_server() -> Iterator[DnsServer]:
    server = DnsServer()
    yield server
    server.close()
