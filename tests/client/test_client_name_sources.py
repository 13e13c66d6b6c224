from pathlib import Path

import pytest

from otel_dns import semconv
from otel_dns.client.details import Lookup
from otel_dns.client.name_sources import NameSources, Reader, parse_hosts, parse_sources
from otel_dns.client.stub import SourceAddresses, Stub
from otel_dns.resolv_conf import Reader as ResolvConfReader


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("files", "dns")),
        ("passwd: files\n", ("files", "dns")),
        ("hosts: files dns\n", ("files", "dns")),
        ("hosts:\tdns files # why\n", ("dns",)),
        (
            "hosts: files mdns4_minimal [NOTFOUND=return] dns myhostname\n",
            ("files", "mdns4_minimal", "dns"),
        ),
        ("hosts: files\n", ("files",)),
        ("hosts: resolve [!UNAVAIL=return] files dns\n", ("resolve", "files", "dns")),
        ("#hosts: nis\n hosts : files myhostname dns\n", ("files", "myhostname", "dns")),
    ],
)
def test_parse_sources(text: str, expected: tuple[str, ...]) -> None:
    assert parse_sources(text) == expected


def test_parse_hosts() -> None:
    text = "127.0.0.1 localhost Web.Shop # web\n\n# 10.0.0.1 db\nfe80::1\tnode.\n"
    names = {"127.0.0.1", "localhost", "web.shop", "fe80::1", "node"}
    assert {name.rstrip(".") for name in parse_hosts(text)} == names
    sources = NameSources(parse_hosts(text), ("myhostname",))
    assert sources.besides_dns("WEB.shop.") == ("files", "myhostname")
    assert sources.besides_dns("node") == ("files", "myhostname")
    assert sources.besides_dns("db") == ("myhostname",)
    assert NameSources().besides_dns("localhost") == ()


class Files:
    """A Pod's files, and what is read of them at a time."""

    def __init__(self, directory: Path) -> None:
        self.now = 0.0
        self.resolv, self.hosts, self.switch, self.nscd = (
            directory / name for name in ("resolv.conf", "hosts", "nsswitch.conf", "nscd")
        )
        clock = lambda: self.now  # noqa: E731
        self.stub = Stub(
            ResolvConfReader(self.resolv, clock=clock),
            SourceAddresses(clock=clock),
            "glibc",
            clock,
            Reader("glibc", self.hosts, self.switch, self.nscd, clock),
        )

    def attributes(self, name: str) -> dict[str, object]:
        self.now += 60
        return dict(Lookup(name, "socket.getaddrinfo", self.stub.current(), "any").attributes())


def test_read_again_when_a_file_changes(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert semconv.LOOKUP_BESIDES_DNS not in files.attributes("db")
    files.hosts.write_text("10.0.0.1 db\n")
    assert files.attributes("db")[semconv.LOOKUP_BESIDES_DNS] == ("files",)
    assert semconv.LOOKUP_BESIDES_DNS not in files.attributes("web")
    files.switch.write_text("hosts: files myhostname dns\n")
    assert files.attributes("web")[semconv.LOOKUP_BESIDES_DNS] == ("myhostname",)
    files.switch.write_text("hosts: dns files\n")
    assert semconv.LOOKUP_BESIDES_DNS not in files.attributes("db")
    files.nscd.touch()
    assert files.attributes("db")[semconv.LOOKUP_BESIDES_DNS] == ("nscd",)
    files.resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 rotate\n")
    found = files.attributes("db")
    assert found[semconv.RESOLVER_OPTIONS] == ("timeout:1", "rotate")
    assert semconv.RESOLVER_CLIENT_ADDRESSES not in found
    before = files.stub.current()
    files.now += 60
    assert files.stub.current() is before
    files.resolv.unlink()
    assert semconv.RESOLVER_OPTIONS not in files.attributes("db")


def test_musl_asks_the_hosts_file_and_dns(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("10.0.0.1 db\n")
    (tmp_path / "switch").write_text("hosts: dns\n")
    (tmp_path / "nscd").touch()
    reader = Reader("musl", tmp_path / "hosts", tmp_path / "switch", tmp_path / "nscd")
    assert reader.current().besides_dns("db") == ("files",)
    assert reader.current().besides_dns("web") == ()


def test_an_address_towards_each_nameserver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = {"10.0.0.1": "10.1.0.9", "192.0.2.1": "192.0.2.9", "198.51.100.1": None}
    monkeypatch.setattr("otel_dns.client.stub.source_address", routes.get)
    files = Files(tmp_path)
    files.resolv.write_text("".join(f"nameserver {each}\n" for each in routes))
    found = files.attributes("db")
    assert found[semconv.CLIENT_ADDRESS] == "10.1.0.9"
    assert found[semconv.RESOLVER_CLIENT_ADDRESSES] == ("10.1.0.9", "192.0.2.9", "")
