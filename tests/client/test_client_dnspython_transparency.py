"""What is wrapped of dnspython looks and fails as it does without."""

import asyncio
import inspect
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import dns.asyncquery
import dns.asyncresolver
import dns.message
import dns.query
import dns.quic
import dns.resolver
import pytest

import otel_dns.client
from tests.client.support import DnsServer, Telemetry

SENDERS = ("udp", "tcp", "tls", "https", "quic", "udp_with_fallback", "send_udp", "send_tcp")
METHODS = ("resolve", "resolve_name", "resolve_address", "canonical_name", "try_ddr", "query")
WRAPPED: list[tuple[Any, str]] = [
    *((module, name) for module in (dns.query, dns.asyncquery) for name in SENDERS),
    *((dns.resolver.Resolver, name) for name in METHODS),
    *((dns.asyncresolver.Resolver, name) for name in METHODS[:-1]),
    *((module, "zone_for_name") for module in (dns.resolver, dns.asyncresolver)),
    (dns.resolver, "resolve_at"),
    (dns.resolver, "override_system_resolver"),
    (dns.resolver, "restore_system_resolver"),
    (dns.quic.SyncQuicConnection, "make_stream"),
]


def test_functions_look_the_same_and_are_restored(telemetry: Telemetry) -> None:
    bare = [getattr(owner, name) for owner, name in WRAPPED]
    otel_dns.client.instrument(**telemetry.options, marks="edns,case,b3")
    for (owner, name), original in zip(WRAPPED, bare, strict=True):
        wrapped = getattr(owner, name)
        assert inspect.signature(wrapped) == inspect.signature(original), name
        assert inspect.iscoroutinefunction(wrapped) == inspect.iscoroutinefunction(original), name
        assert (wrapped.__doc__, wrapped.__module__) == (original.__doc__, original.__module__)
        assert wrapped.__qualname__ == original.__qualname__
        assert pickle.loads(pickle.dumps(wrapped)) is wrapped
        assert (wrapped is original) == (name == "query")
    otel_dns.client.uninstrument()
    assert [getattr(owner, name) for owner, name in WRAPPED] == bare


def query() -> dns.message.Message:
    return dns.message.make_query("silent.example.", "A")


def closed() -> Any:
    sock = dns.query.make_socket(2, 2)  # type: ignore[arg-type]
    sock.close()
    return sock


FAILURES: dict[str, Callable[[int], Any]] = {
    "no answer": lambda port: dns.query.udp(query(), "127.0.0.1", 0.05, port),
    "nobody listens": lambda port: dns.query.tcp(query(), "127.0.0.1", 5, 1),
    "no address": lambda port: dns.query.udp(query(), "nowhere", 1),
    "no TLS": lambda port: dns.query.tls(query(), "127.0.0.1", 5, 1),
    "a closed socket": lambda port: dns.query.udp(query(), "127.0.0.1", 1, port, sock=closed()),
    "no message": lambda port: dns.query.udp("x", "127.0.0.1"),  # type: ignore[arg-type]
    "no such argument": lambda port: dns.query.udp(query(), "127.0.0.1", nothing=1),  # type: ignore[call-arg]
    "fallback, no answer": lambda port: dns.query.udp_with_fallback(
        query(), "127.0.0.1", 0.05, port
    ),
    "asyncio, no answer": lambda port: asyncio.run(
        dns.asyncquery.udp(query(), "127.0.0.1", 0.05, port)
    ),
    "asyncio, nobody listens": lambda port: asyncio.run(
        dns.asyncquery.tcp(query(), "127.0.0.1", 5, 1)
    ),
    "unknown family": lambda port: dns.resolver.Resolver(configure=False).resolve_name("web", 99),
    "no reverse": lambda port: dns.resolver.Resolver(configure=False).resolve_address("web"),
    "relative zone": lambda port: dns.resolver.zone_for_name(
        dns.name.from_text("web", None), resolver=dns.resolver.Resolver(configure=False)
    ),
}


@pytest.mark.parametrize("what", FAILURES)
def test_failures_are_the_same(telemetry: Telemetry, dns_server: DnsServer, what: str) -> None:
    fails = FAILURES[what]
    seen = []
    for instrumented in (False, True):
        if instrumented:
            otel_dns.client.instrument(**telemetry.options, marks="edns,case")
        with pytest.raises(Exception) as error:  # noqa: PT011 - whatever it is
            fails(dns_server.port)
        last = traceback.extract_tb(error.value.__traceback__)[-1]
        where = None if "argument" in what else (last.filename, last.lineno)
        context = type(error.value.__context__)
        # How long it waited is in the text.
        text = re.sub(r"[0-9.]+ seconds", "", str(error.value))
        seen.append((type(error.value), text, where, context))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "module", ["dns.query", "dns.asyncquery", "dns.resolver", "dns.asyncresolver"]
)
def test_whatever_is_imported_first_is_instrumented(module: str) -> None:
    program = f"""
import sys, otel_dns.client
otel_dns.client.instrument()
assert not any(name.partition(".")[0] == "dns" for name in sys.modules)
import importlib
importlib.import_module({module!r})
for name in ("query", "asyncquery", "resolver", "asyncresolver"):
    loaded = importlib.import_module("dns." + name)
    owner, function = (loaded, "udp") if "query" in name else (loaded.Resolver, "resolve")
    assert hasattr(getattr(owner, function), "__wrapped__"), name
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
