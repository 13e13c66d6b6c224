"""What is measured: pairs of calls, bare and instrumented, each pair in a process of its own."""

import http.server
import multiprocessing
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from bench.client import postgres

Call = Callable[[], object]
HOST = "localhost"
"""In /etc/hosts everywhere, so that no server's time is in the measurement."""


class Pair(NamedTuple):
    """The same call without and with instrumentation, to be made in turns."""

    bare: Call
    instrumented: Call


def getaddrinfo(host: str) -> Callable[[dict[str, Any]], Any]:
    @contextmanager
    def subject(providers: dict[str, Any]) -> Iterator[Pair]:
        import otel_dns.client

        bare = socket.getaddrinfo
        otel_dns.client.instrument(**providers)
        wrapped = socket.getaddrinfo
        kind = socket.SOCK_STREAM
        yield Pair(lambda: bare(host, 80, 0, kind), lambda: wrapped(host, 80, 0, kind))
        otel_dns.client.uninstrument()

    return subject


@contextmanager
def sqlite(providers: dict[str, Any]) -> Iterator[Pair]:
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor

    connection = sqlite3.connect(":memory:")
    provider = providers.get("tracer_provider")
    instrumented = SQLite3Instrumentor().instrument_connection(connection, provider)
    bare, traced = connection.cursor(), instrumented.cursor()
    yield Pair(lambda: bare.execute("SELECT 1"), lambda: traced.execute("SELECT 1"))
    connection.close()


@contextmanager
def psycopg(providers: dict[str, Any]) -> Iterator[Pair]:
    import psycopg as library
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

    with postgres.server() as directory:
        where = f"host={directory} user=bench dbname=postgres"
        with library.connect(where) as plain, library.connect(where) as other:
            instrumented = PsycopgInstrumentor().instrument_connection(
                other, providers.get("tracer_provider")
            )
            bare, traced = plain.cursor(), instrumented.cursor()
            yield Pair(lambda: bare.execute("SELECT 1"), lambda: traced.execute("SELECT 1"))


@contextmanager
def urllib3(providers: dict[str, Any]) -> Iterator[Pair]:
    import urllib3 as library
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor

    bare_request = library.HTTPConnectionPool.urlopen
    URLLib3Instrumentor().instrument(**providers)
    request = library.HTTPConnectionPool.urlopen
    with web_server() as port:
        pool = library.HTTPConnectionPool("127.0.0.1", port)
        yield Pair(
            lambda: bare_request(pool, "GET", "/"),
            lambda: request(pool, "GET", "/"),
        )
        pool.close()
    URLLib3Instrumentor().uninstrument()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def _serve(ready: Any) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Handler)
    ready.send(server.server_port)
    server.serve_forever()


@contextmanager
def web_server() -> Iterator[int]:
    """Serve in another process: its CPU is not the client's."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    yield here.recv()
    process.terminate()
    process.join()


SUBJECTS: dict[str, Any] = {
    "getaddrinfo": getaddrinfo(HOST),
    "getaddrinfo_numeric": getaddrinfo("127.0.0.1"),
    "psycopg": psycopg,
    "sqlite3": sqlite,
    "urllib3": urllib3,
}
