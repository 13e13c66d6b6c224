"""Names resolve in a Pod as in Kubernetes, and nowhere else than in the lab."""

import json
import re
import sys
from pathlib import Path

import pytest

from otel_dns.lab import Lab, Pod
from otel_dns.lab.dns import DnsServer
from tests.support.programs import require
from tests.support.waiting import eventually

LOOK_UP = """
import json, socket, sys
found = socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)
print(json.dumps([entry[4][0] for entry in found]))
"""


def addresses(pod: Pod, name: str) -> list[str]:
    done = pod.run([sys.executable, "-c", LOOK_UP, name], check=True)
    return json.loads(done.stdout)


def queries(server: DnsServer, count: int) -> list[str]:
    """``TYPE NAME`` of every query in a server's log, once there are so many of them.

    CoreDNS writes a line after its answer has gone.
    """
    line = re.compile(r'^\[INFO\] \S+ - \d+ "(\S+) IN (\S+) ', re.MULTILINE)
    lines = eventually(
        lambda: found if len(found := line.findall(server.log.read_text())) >= count else None,
        f"{count} queries in the log",
    )
    return [f"{kind} {name}" for kind, name in lines]


def test_short_name_takes_two_queries_external_name_eight(any_lab: Lab) -> None:
    any_lab.upstream_dns()
    cluster = any_lab.cluster_dns(zipkin=None)
    pod = any_lab.pod("shop-1", namespace="shop")

    assert addresses(pod, "db") == ["10.96.0.20"]
    assert sorted(queries(cluster, 2)) == [
        "A db.shop.svc.cluster.local.",
        "AAAA db.shop.svc.cluster.local.",
    ]

    assert sorted(addresses(pod, "www.example.org")) == ["192.0.2.80", "2001:db8::80"]
    names = [
        "www.example.org.shop.svc.cluster.local.",
        "www.example.org.svc.cluster.local.",
        "www.example.org.cluster.local.",
        "www.example.org.",
    ]
    assert sorted(queries(cluster, 10)[2:]) == sorted(
        f"{kind} {name}" for name in names for kind in ("A", "AAAA")
    )


def test_pod_has_its_own_resolver_files(any_lab: Lab) -> None:
    before = {name: Path("/etc", name).read_bytes() for name in ("resolv.conf", "hosts")}
    pod = any_lab.pod("shop-1", namespace="shop", node="node-b", container="till")
    show = "cat /etc/resolv.conf; hostname; cat /etc/hosts; grep hosts: /etc/nsswitch.conf; env"
    done = pod.run(["sh", "-c", show], env={"MORE": "yes"}, check=True)
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "nameserver 10.96.0.10",
        "search shop.svc.cluster.local svc.cluster.local cluster.local",
        "options ndots:5",
        "shop-1",
    ]
    assert f"{pod.address}\tshop-1" in lines
    assert "hosts: files dns" in lines
    assert {
        "POD_NAME=shop-1",
        "POD_NAMESPACE=shop",
        f"POD_IP={pod.address}",
        "NODE_NAME=node-b",
        "CONTAINER_NAME=till",
        "MORE=yes",
    } <= set(lines)
    assert before == {name: Path("/etc", name).read_bytes() for name in before}


def test_variables_that_lead_past_the_lab_are_dropped(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = ("http_proxy", "HTTPS_PROXY", "RES_OPTIONS", "LOCALDOMAIN", "OTEL_SERVICE_NAME")
    for name in dropped:
        monkeypatch.setenv(name, "from-outside")
    monkeypatch.setenv("KEPT", "from-outside")
    shown = lab.pod("a").run(["env"], check=True).stdout
    assert [line for line in shown.splitlines() if line.endswith("from-outside")] == [
        "KEPT=from-outside"
    ]


def test_pod_reaches_nothing_outside_the_lab(any_lab: Lab) -> None:
    pod = any_lab.pod("a")
    connect = (
        "import socket\n"
        "try: socket.create_connection(('203.0.113.1', 80), timeout=60)\n"
        "except OSError as error: print(error.strerror)"
    )
    done = pod.run([sys.executable, "-c", connect], check=True)
    assert done.stdout.split() == ["Network", "is", "unreachable"]


def test_host_resolver_daemons_are_hidden(lab: Lab) -> None:
    # As on a host where these run. The mounts are the lab's own.
    prepare = """
        mount -t tmpfs none /run
        mkdir -p /run/nscd /run/systemd/resolve
        touch /run/nscd/socket /run/systemd/resolve/io.systemd.Resolve
    """
    lab.node.run(["sh", "-ec", prepare], check=True)
    pod = lab.pod("a")
    listed = pod.run(["ls", "-A", "/run/nscd", "/run/systemd/resolve"], check=True).stdout
    assert listed.split() == ["/run/nscd:", "/run/systemd/resolve:"]


@pytest.mark.parametrize(
    "target", ["/run/systemd/resolve/stub-resolv.conf", "/run/gone/resolv.conf"]
)
def test_resolv_conf_may_be_a_symlink(lab: Lab, target: str) -> None:
    # As systemd-resolved leaves it, also where it does not run and the link leads nowhere.
    prepare = f"""
        mount -t tmpfs none /run
        mkdir -p /run/systemd/resolve
        echo nameserver 198.51.100.9 > /run/systemd/resolve/stub-resolv.conf
        mount -t tmpfs none /etc
        touch /etc/hosts
        ln -s {target} /etc/resolv.conf
    """
    lab.node.run(["sh", "-ec", prepare], check=True)
    pod = lab.pod("a", nameservers=["192.0.2.99"], search=[], options=[])
    assert pod.run(["cat", "/etc/resolv.conf"], check=True).stdout == "nameserver 192.0.2.99\n"


def test_node_local_dns_stands_between(any_lab: Lab) -> None:
    any_lab.upstream_dns()
    cluster = any_lab.cluster_dns(zipkin=None)
    cache = any_lab.node_local_dns()
    pod = any_lab.pod("shop-1", namespace="shop")
    assert "nameserver 169.254.20.10\n" in pod.run(["cat", "/etc/resolv.conf"]).stdout
    assert addresses(pod, "db") == ["10.96.0.20"]
    assert addresses(pod, "db") == ["10.96.0.20"]
    assert len(queries(cache, 4)) == 4
    # The second time, the cache answers; its own questions come over TCP from the node's address.
    assert len(queries(cluster, 2)) == 2
    lines = [line for line in cluster.log.read_text().splitlines() if " IN " in line]
    assert all("10.244.0.1:" in line and " tcp " in line for line in lines)


def test_unknown_names_are_not_found_and_dead_dns_fails(any_lab: Lab) -> None:
    any_lab.upstream_dns()
    cluster = any_lab.cluster_dns(zipkin=None)
    pod = any_lab.pod("shop-1", namespace="shop")
    ask = (
        "import socket\ntry: socket.getaddrinfo('nowhere', 1)\nexcept OSError as e: print(e.errno)"
    )
    assert pod.run([sys.executable, "-c", ask], check=True).stdout == "-2\n"
    cluster.process.kill()
    assert pod.run([sys.executable, "-c", ask], check=True).stdout == "-3\n"
    cluster.process.restart()
    assert pod.run([sys.executable, "-c", ask], check=True).stdout == "-2\n"


def test_paused_dns_is_a_hung_server(lab: Lab) -> None:
    require("coredns")
    cluster = lab.cluster_dns(zipkin=None)
    patient = lab.pod("shop-1", namespace="shop")
    hasty = lab.pod("shop-2", namespace="shop", options=["ndots:5", "timeout:1", "attempts:1"])
    cluster.process.pause()
    failed = hasty.run([sys.executable, "-c", LOOK_UP, "db"])
    assert failed.returncode == 1
    assert "Temporary failure in name resolution" in failed.stderr
    cluster.process.resume()
    assert addresses(patient, "db") == ["10.96.0.20"]
