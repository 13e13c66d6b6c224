import string

import dns.exception
import dns.name
import dns.resolver
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_dns.names import candidates, normalise, reverse

KUBERNETES = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("web", "web."),
        ("Web.SHOP.", "web.shop."),
        ("web..", "web."),
        ("", "."),
        (".", "."),
        ("bücher.example", "xn--bcher-kva.example."),
        ("BÜCHER.example.", "xn--bcher-kva.example."),
        ("web\u3002shop", "web.shop."),
        ("_dns._udp.Example", "_dns._udp.example."),
        ("\ud800X", "\ud800x."),
        ("a" * 300, "a" * 300 + "."),
        ("ü" * 5000, "ü" * 5000 + "."),
    ],
)
def test_normalise(name: str, normal: str) -> None:
    assert normalise(name) == normal


@given(st.text())
@example("İ.example")
@example("ß")
@example("a\u3002")
def test_normalise_is_total_and_done_once(name: str) -> None:
    once = normalise(name)
    assert once.endswith(".")
    assert not once.endswith("..")
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("name", "search", "ndots", "kind", "expected"),
    [
        # A Pod's short name, and an external one: ndots:5 makes the search list come first.
        (
            "db",
            KUBERNETES,
            5,
            "glibc",
            (
                "db.shop.svc.cluster.local.",
                "db.svc.cluster.local.",
                "db.cluster.local.",
                "db.",
            ),
        ),
        (
            "www.example.org",
            KUBERNETES,
            5,
            "glibc",
            (
                "www.example.org.shop.svc.cluster.local.",
                "www.example.org.svc.cluster.local.",
                "www.example.org.cluster.local.",
                "www.example.org.",
            ),
        ),
        ("WWW.Example.org.", KUBERNETES, 5, "glibc", ("www.example.org.",)),
        # Dots enough: as is first. Only musl stops there.
        ("a.b", ("x",), 1, "glibc", ("a.b.", "a.b.x.")),
        ("a.b", ("x",), 1, "musl", ("a.b.",)),
        ("a.b", ("x",), 1, "dnspython", ("a.b.", "a.b.x.")),
        ("a.b", ("x",), 1, "other", ("a.b.", "a.b.x.")),
        ("a.b", ("x",), 2, "musl", ("a.b.x.", "a.b.")),
        ("a", ("x",), 0, "glibc", ("a.", "a.x.")),
        ("a", (), 1, "glibc", ("a.",)),
        # The root on the list stands for the name as is; dnspython asks twice all the same.
        ("a", (".", "x"), 1, "glibc", ("a.", "a.x.")),
        ("a", (".", "x"), 1, "dnspython", ("a.", "a.x.", "a.")),
        ("a", (".", "x"), 1, "musl", ("a.x.", "a.")),
        ("a.b", (".",), 1, "glibc", ("a.b.", "a.b.")),
        ("a", ("x", "x"), 1, "glibc", ("a.x.", "a.x.", "a.")),
        ("a", ("x.", ".y"), 1, "glibc", ("a.x.", "a.y.", "a.")),
        ("a", ("x.", ".y"), 1, "musl", ("a.x.", "a.")),
        # What cannot be sent: glibc ends the list there, musl goes on, dnspython gives up.
        ("a", ("x", "y" * 64, "z"), 1, "glibc", ("a.x.", "a.")),
        ("a", ("x", "y" * 64, "z"), 1, "musl", ("a.x.", "a.z.", "a.")),
        ("a", ("x", "y" * 64, "z"), 1, "dnspython", ()),
        ("a..b", ("x",), 1, "glibc", ()),
        ("a..b", ("x",), 1, "musl", ()),
        ("a..", ("x",), 1, "glibc", ()),
        ("", ("x",), 1, "glibc", ()),
        ("", ("x",), 1, "dnspython", ("x.", ".")),
        ("", (), 1, "dnspython", (".",)),
        ("", ("x",), 1, "musl", ()),
        (".", ("x",), 1, "glibc", (".",)),
        (".", ("x",), 1, "musl", ()),
        ("bücher", ("x",), 1, "glibc", ("xn--bcher-kva.x.", "xn--bcher-kva.")),
    ],
)
def test_candidates(
    name: str, search: tuple[str, ...], ndots: int, kind: str, expected: tuple[str, ...]
) -> None:
    assert candidates(name, search, ndots, kind) == expected


KINDS = st.sampled_from(["glibc", "musl", "dnspython", "other"])


@given(st.text(), st.lists(st.text()).map(tuple), st.integers(-1, 20), KINDS)
def test_candidates_is_total_and_gives_normal_names(
    name: str, search: tuple[str, ...], ndots: int, kind: str
) -> None:
    found = candidates(name, search, ndots, kind)
    assert len(found) <= len(search) + 1
    for full in found:
        assert full == "." or len(full) <= 254
        assert full.isascii() is False or normalise(full) == full


LABEL = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=70)
NAME = st.lists(LABEL, min_size=0, max_size=6).map(".".join)
DOMAIN = st.one_of(
    st.just("."),
    st.lists(LABEL.filter(lambda label: len(label) < 64), min_size=1, max_size=3).map(".".join),
)


@given(
    st.builds(str.__add__, NAME, st.sampled_from(["", "."])),
    st.lists(DOMAIN, max_size=4).map(tuple),
    st.integers(0, 6),
)
@example("", ("x",), 0)
@example(".", ("x",), 1)
def test_candidates_are_those_of_dnspython(name: str, search: tuple[str, ...], ndots: int) -> None:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.search = [dns.name.from_text(domain) for domain in search]
    resolver.domain = dns.name.root
    resolver.ndots = ndots
    try:
        qname = dns.name.from_text(name, None)
        real = resolver._get_qnames_to_try(qname, search=True)
    except dns.exception.DNSException:
        real = []
    assert candidates(name, search, ndots, "dnspython") == tuple(
        full.to_text().lower() for full in real
    )


def test_repeated_questions_are_remembered() -> None:
    candidates.cache_clear()
    assert candidates("db", KUBERNETES, 5) is candidates("db", KUBERNETES, 5)
    assert candidates.cache_info().hits == 1


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.96.0.10", "10.0.96.10.in-addr.arpa."),
        ("::1", "1" + ".0" * 31 + ".ip6.arpa."),
        ("fe80::1%eth0", "1" + ".0" * 28 + ".8.e.f.ip6.arpa."),
        ("::ffff:10.96.0.10", "10.0.96.10.in-addr.arpa."),
        ("web", None),
        ("", None),
        ("10.0.96.10.in-addr.arpa", None),
    ],
)
def test_reverse(address: str, name: str | None) -> None:
    assert reverse(address) == name


@given(st.text())
def test_reverse_is_total(text: str) -> None:
    reverse(text)
