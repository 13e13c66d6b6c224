"""`candidates` and `parse` beside the real C library: what it asks a real DNS server for."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otel_dns.client import stub
from otel_dns.names import candidates, reverse
from otel_dns.resolv_conf import parse

KUBERNETES = "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
LONG = ".".join(["d" * 60] * 3)

CASES = [
    ("db", KUBERNETES),
    ("www.example.org", KUBERNETES),
    ("WWW.example.org.", KUBERNETES),
    ("a.b", "search x\n"),
    ("A.b", "search x\noptions ndots:2\n"),
    ("a", "search x\noptions ndots:0\n"),
    ("a", "domain x\n"),
    ("a", "search y\ndomain x\n"),
    ("a", "search x # y\n"),
    ("a", " search x\n"),
    ("a", "search . x\n"),
    ("a.b", "search .\n"),
    ("a", "search x x\n"),
    ("a", "search x. .y\n"),
    ("a", f"search x {'y' * 64} z\n"),
    ("a.b", f"search x {'y' * 64} z\n"),
    ("l" * 62, f"search {LONG} {LONG}.{'d' * 60} z\n"),
    ("a", "search a b c d e f g h\n"),
    ("a.b.c", "search x\noptions ndots:99\n"),
    ("a.b.c", "search x\noptions ndots:4x\n"),
    ("_x.y", "search z\noptions ndots:3\n"),
    ("a..b", "search x\n"),
    ("", "search x\n"),
    (".", "search x\n"),
]

FORWARD = "socket.getaddrinfo(sys.argv[1].encode(), 80, socket.AF_INET)"
BACKWARD = [
    "socket.gethostbyaddr(sys.argv[1])",
    "socket.getnameinfo((sys.argv[1], 80), socket.NI_NAMEREQD)",
]
ADDRESSES = ["10.96.0.10", "2001:db8::1", "::1", "fe80::1", "::ffff:10.0.0.1"]

# Runs as root of namespaces of its own, so that its resolv.conf is nobody else's.
INSIDE = """
import json, socket, subprocess, sys, threading
from pathlib import Path
import dns.message, dns.rcode
from pyroute2 import IPRoute

with IPRoute() as network:
    network.link("set", index=1, state="up")
folder = Path(sys.argv[1])
(folder / "nsswitch.conf").write_text("hosts: dns\\n")
(folder / "resolv.conf").write_text("")
for name in ("nsswitch.conf", "resolv.conf"):
    subprocess.run(["mount", "--bind", folder / name, f"/etc/{name}"], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
asked = []

def serve():
    while True:
        wire, peer = server.recvfrom(4096)
        query = dns.message.from_wire(wire)
        asked.append(query.question[0].name.to_text().lower())
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.NXDOMAIN)
        server.sendto(answer.to_wire(), peer)

threading.Thread(target=serve, daemon=True).start()
look_up = "import socket, sys; " + sys.argv[2]
seen = []
for name, text in json.load(sys.stdin):
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\\n" + text)
    asked.clear()
    subprocess.run([sys.executable, "-c", look_up, name], stderr=subprocess.DEVNULL)
    seen.append(list(asked))
print(json.dumps(seen))
"""


def _has_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-Urnm", "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.skipif(stub.kind() != "glibc", reason="the C library is not glibc"),
    pytest.mark.skipif(not _has_namespaces(), reason="no user namespaces on this machine"),
]


def asked_for(folder: Path, call: str, cases: list[tuple[str, str]]) -> list[list[str]]:
    """Make the call for each name and resolv.conf; return what the DNS server was asked."""
    pytest.importorskip("pyroute2")
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in {"LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES"}
    }
    done = subprocess.run(
        ["unshare", "-Urnm", sys.executable, "-W", "ignore", "-c", INSIDE, str(folder), call],
        input=json.dumps(cases),
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: list[list[str]] = json.loads(done.stdout)
    return seen


def test_glibc_asks_for_the_candidates(tmp_path: Path) -> None:
    hostname = os.uname().nodename
    for (name, text), asked in zip(CASES, asked_for(tmp_path, FORWARD, CASES), strict=True):
        conf = parse("nameserver 127.0.0.1\n" + text, hostname=hostname)
        expected = candidates(name, conf.search, conf.ndots, "glibc")
        assert (name, text, expected) == (name, text, tuple(asked))


@pytest.mark.parametrize("call", BACKWARD)
def test_glibc_asks_for_the_reverse_name(tmp_path: Path, call: str) -> None:
    cases = [(address, KUBERNETES) for address in ADDRESSES]
    asked = asked_for(tmp_path, call, cases)
    assert asked == [[reverse(address)] for address in ADDRESSES]
