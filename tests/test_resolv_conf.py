import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_dns.resolv_conf import Reader, ResolvConf, load, parse

POD = """\
search shop.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
"""


def test_a_pods_file() -> None:
    assert parse(POD) == ResolvConf(
        nameservers=("10.96.0.10",),
        search=("shop.svc.cluster.local", "svc.cluster.local", "cluster.local"),
        ndots=5,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ResolvConf()),
        ("# nameserver 10.0.0.1\n;search a\n", ResolvConf()),
        # A keyword starts the line and is followed by a blank; letter case matters.
        (" nameserver 10.0.0.1\nnameserver10.0.0.2\nNameserver 10.0.0.3\n", ResolvConf()),
        ("nameserver\t10.0.0.1 # why\n", ResolvConf(nameservers=("10.0.0.1",))),
        ("nameserver 10.0.0.1;why\r\n", ResolvConf(nameservers=("10.0.0.1",))),
        ("nameserver dns.example\nnameserver 10.0.0.1", ResolvConf(nameservers=("10.0.0.1",))),
        ("nameserver fe80::1%eth0\n", ResolvConf(nameservers=("fe80::1%eth0",))),
        (
            "".join(f"nameserver 10.0.0.{n}\n" for n in range(5)),
            ResolvConf(nameservers=("10.0.0.0", "10.0.0.1", "10.0.0.2")),
        ),
        # The last of domain and search wins; an empty one does not count.
        ("search a b\ndomain c d\n", ResolvConf(search=("c",))),
        ("domain c\nsearch a\tb\nsearch \n", ResolvConf(search=("a", "b"))),
        ("search " + " ".join("abcdefgh"), ResolvConf(search=tuple("abcdefgh"))),
        ("options ndots:99 timeout:99 attempts:99", ResolvConf(ndots=15, timeout=30, attempts=5)),
        ("options ndots:2x ndots: attempts:-1", ResolvConf(ndots=0, attempts=0)),
        ("options ndots:2\noptions ndots:3", ResolvConf(ndots=3)),
        ("options rotate use-vc rotate ndots", ResolvConf(options=("rotate", "use-vc", "ndots"))),
    ],
)
def test_parse(text: str, expected: ResolvConf) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("environ", "search", "ndots"),
    [
        ({}, ("a", "b"), 2),
        ({"LOCALDOMAIN": "x y"}, ("x", "y"), 2),
        ({"LOCALDOMAIN": ""}, (".",), 2),
        ({"RES_OPTIONS": "ndots:7 rotate"}, ("a", "b"), 7),
    ],
)
def test_environment_wins(environ: dict[str, str], search: tuple[str, ...], ndots: int) -> None:
    conf = parse("search a b\noptions ndots:2\n", environ, hostname="host.corp.example")
    assert (conf.search, conf.ndots) == (search, ndots)


def test_host_names_domain_is_the_last_resort() -> None:
    assert parse("", hostname="host.corp.example").search == ("corp.example",)
    assert parse("", hostname="host").search == ()


@given(st.text(), st.dictionaries(st.sampled_from(["LOCALDOMAIN", "RES_OPTIONS"]), st.text()))
def test_parse_is_total_and_within_limits(text: str, environ: dict[str, str]) -> None:
    lines = text.replace("n", "nameserver ").replace("o", "options ndots:")
    for conf in (parse(text, environ), parse(lines, environ)):
        assert 1 <= len(conf.nameservers) <= 3
        assert 0 <= conf.ndots <= 15
        hash(conf)


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(POD.encode() + b"search \xff\n")
    assert load(path).nameservers == ("10.96.0.10",)
    assert load(tmp_path / "missing") == ResolvConf()
    assert load(tmp_path) == ResolvConf()


def test_reader_reads_again_only_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(POD)
    now = 0.0
    reader = Reader(path, clock=lambda: now)
    first = reader.current()
    assert first.ndots == 5

    path.write_text(POD.replace("ndots:5", "ndots:12"))
    assert reader.current() is first, "looked at again within the second"
    now = 1.5
    assert reader.current().ndots == 12

    # Written anew with the same meaning: the same object, so what hangs on it stays too.
    second = reader.current()
    path.write_text("# new\n" + POD.replace("ndots:5", "ndots:12"))
    now = 3.0
    assert reader.current() is second

    # Replaced by rename with equal size and time, as ConfigMaps and DHCP clients do.
    status = path.stat()
    other = tmp_path / "other"
    other.write_text("# new\n" + POD.replace("ndots:5", "ndots:13"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    now = 4.5
    assert reader.current().ndots == 13

    path.unlink()
    now = 6.0
    assert reader.current() == ResolvConf()
