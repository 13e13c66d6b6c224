import socket

import pytest

from otel_dns.client import stub
from otel_dns.client.stub import SourceAddresses, Stub, source_address


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("nameserver", "address"),
    [
        *[(each, "::1") for each in ("::1", "::1%1", "::1%lo") if has_ipv6()],
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.53", "127.0.0.1"),
        ("dns.example", None),
        ("", None),
        ("127.1", None),
        ("\ud800", None),
        ("1\0", None),
        ("fe80::1%no-such-interface", None),
        ("https://dns.example/dns-query", None),
    ],
)
def test_source_address(nameserver: str, address: str | None) -> None:
    assert source_address(nameserver) == address


def test_source_address_looks_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(socket, "socket", fail)
    assert source_address("127.0.0.1") == "127.0.0.1"


def test_addresses_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    asked: list[str] = []

    def ask(nameserver: str) -> str:
        asked.append(nameserver)
        return "10.0.0.9"

    monkeypatch.setattr(stub, "source_address", ask)
    addresses = SourceAddresses(clock=lambda: now)
    assert [addresses.towards("10.0.0.1") for _ in range(3)] == ["10.0.0.9"] * 3
    assert asked == ["10.0.0.1"]
    now = 60.0
    addresses.towards("10.0.0.1")
    assert len(asked) == 2
    for n in range(1000):
        addresses.towards(f"10.0.{n // 256}.{n % 256}")
    assert len(addresses._known) <= 64


def test_this_process() -> None:
    resolver = Stub().current()
    assert resolver.kind in {"glibc", "musl", "other"}
    assert resolver.nameservers
    assert resolver.ndots >= 0
