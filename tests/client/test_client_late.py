"""Libraries that are imported after the instrumentation was switched on, or never."""

import subprocess
import sys
from pathlib import Path

import pytest

import otel_dns.client
from otel_dns.client.gevent import GeventInstrumentor

ROOT = Path(__file__).parents[2]

START = """
import sys
import otel_dns.client

def wrapped(function):
    return hasattr(function, "__wrapped__")

otel_dns.client.instrument()
"""


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START + program],
        check=False,
        cwd=ROOT,
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_what_the_application_does_not_import_is_not_imported() -> None:
    run("assert not {'dns', 'uvloop', 'aiodns', 'pycares'} & set(sys.modules)")


def test_imported_later() -> None:
    run("""
import dns.resolver
assert wrapped(dns.resolver.Resolver.resolve)
otel_dns.client.uninstrument()
assert not wrapped(dns.resolver.Resolver.resolve)
otel_dns.client.instrument()
assert wrapped(dns.resolver.Resolver.resolve)
""")


def test_imported_when_it_is_switched_off() -> None:
    run("""
otel_dns.client.uninstrument()
import dns.resolver
assert not wrapped(dns.resolver.Resolver.resolve)
otel_dns.client.instrument()
assert wrapped(dns.resolver.Resolver.resolve)
""")


def test_uvloop_imported_later() -> None:
    pytest.importorskip("uvloop")
    run("""
import uvloop
assert wrapped(uvloop.Loop.getaddrinfo)
otel_dns.client.uninstrument()
assert not wrapped(uvloop.Loop.getaddrinfo)
otel_dns.client.instrument()
assert wrapped(uvloop.Loop.getaddrinfo)
""")


def test_a_library_that_cannot_be_instrumented_is_imported_all_the_same() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            START
            + "sys.modules['otel_dns.client.dnspython'] = None\nimport dns.resolver\n"
            + "assert not wrapped(dns.resolver.Resolver.resolve)",
        ],
        check=True,
        cwd=ROOT,
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert "DNS lookups of dns.resolver are not recorded" in done.stderr


def test_a_library_that_never_comes_keeps_nothing_of_a_past_instrumentation() -> None:
    run("""
import gc, weakref
from otel_dns.client.recorder import Recorder
otel_dns.client.uninstrument()
recorder = Recorder()
otel_dns.client.instrument(recorder=recorder)
gone = weakref.ref(recorder)
otel_dns.client.uninstrument()
del recorder
gc.collect()
assert gone() is None
""")


def test_a_library_that_is_not_installed_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        GeventInstrumentor, "instrumentation_dependencies", lambda _: ("no-such-library >= 1",)
    )
    otel_dns.client.instrument()
    otel_dns.client.uninstrument()
    assert caplog.records == []


def test_an_api_from_before_random_trace_ids_will_do() -> None:
    program = """
from opentelemetry.trace import TraceFlags
del TraceFlags.RANDOM_TRACE_ID
import socket
import otel_dns.client
otel_dns.client.instrument()
assert hasattr(socket.getaddrinfo, "__wrapped__")
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=240)
