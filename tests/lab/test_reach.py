"""From outside into the lab's network."""

import errno
import http.client
import socket
import urllib.request

import pytest

from otel_dns.lab import Lab, LabError, Pod


def test_web_server_answers_by_name_and_through_connections(any_lab: Lab) -> None:
    any_lab.upstream_dns()
    any_lab.cluster_dns(zipkin=None)
    web = any_lab.web_server()
    pod = any_lab.pod("shop-1", namespace="shop")
    fetch = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=60).read())"
    for url in ("http://web/", "http://www.example.org/"):
        done = pod.run(["python3", "-c", fetch, url], check=True)
        assert done.stdout == "b'hello from web-0\\n'\n"
    assert any_lab.http_get(f"http://{web.pod.address}/any") == (200, b"hello from web-0\n")
    assert any_lab.http_request("POST", f"http://{web.pod.address}/", body=b"x")[0] == 501


def test_connection_errors_are_the_kernel_s(lab: Lab) -> None:
    pod = lab.pod("a")
    with pytest.raises(
        OSError, match=r"10\.244\.0\.1:81 in the lab: Connection refused"
    ) as refused:
        lab.connect("10.244.0.1", 81)
    assert refused.value.errno == errno.ECONNREFUSED
    with pytest.raises(OSError, match="unreachable") as unreachable:
        lab.connect("203.0.113.1", 80)
    assert unreachable.value.errno == errno.ENETUNREACH
    with pytest.raises(LabError, match="'localhost' is no IP address"):
        lab.connect("localhost", 81)
    listening = pod.start(
        ["python3", "-c", "import socket; s = socket.create_server(('127.0.0.1', 7)); s.accept()"]
    )
    # Loopback is each Pod's own.
    with pytest.raises(OSError, match="refused"):
        lab.connect("127.0.0.1", 7)
    listening.wait_until(lambda: _connects(lab, pod, 7), "did not listen")


def _connects(lab: Lab, pod: Pod, port: int) -> bool:
    try:
        lab.connect("127.0.0.1", port, pod=pod).close()
    except OSError:
        return False
    return True


def test_udp(any_lab: Lab) -> None:
    cluster = any_lab.cluster_dns(zipkin=None)
    query = (
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        b"\x02db\x04shop\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"
    )
    with any_lab.connect(cluster.address, 53, kind="udp") as connected:
        connected.send(query)
        answer = connected.recv(512)
    assert answer.startswith(b"\x12\x34")
    assert answer.endswith(b"\x0a\x60\x00\x14") or b"\x0a\x60\x00\x14" in answer


def test_published_port_is_reached_on_loopback_only(any_lab: Lab) -> None:
    web = any_lab.web_server()
    host, port = any_lab.publish(80, host=web.pod.address)
    assert host == "127.0.0.1"
    for _ in range(3):
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=60) as answer:
            assert answer.read() == b"hello from web-0\n"
    with pytest.raises(OSError, match="in use"):
        any_lab.publish(80, port, host=web.pod.address)
    # Nobody behind it: the connection is closed, not left hanging.
    _, dead = any_lab.publish(81, host=web.pod.address)
    with socket.create_connection((host, dead), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(1) == b""
    any_lab.stop()
    with pytest.raises(OSError, match="refused"):
        http.client.HTTPConnection(host, port, timeout=60).request("GET", "/")
