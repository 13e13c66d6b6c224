"""Every row of the table in docs/client.md that says which calls are seen: each call is made."""

import asyncio
import contextlib
import http.client
import re
import smtplib
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiodns
import aiohttp
import aiohttp.resolver
import anyio
import asyncpg
import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.query
import dns.resolver
import grpc
import httpx
import pycares
import pytest
import requests
import trio
import urllib3

from otel_dns import semconv
from tests.client.support import DnsServer, Telemetry

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
HOST = "localhost"
TAKEN_BEFORE = socket.getaddrinfo
"""As ``from socket import getaddrinfo`` does it before the instrumentation."""


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@dataclass
class Around:
    """What the calls reach: a web server on `HOST`, and a DNS server. It looks names up itself, so
    it is there before the instrumentation."""

    port: int
    dns: DnsServer

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def resolver(self) -> dns.resolver.Resolver:
        return self.dns.resolver()

    def asyncresolver(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        sync = self.dns.resolver()
        resolver.nameservers, resolver.port = sync.nameservers, sync.port
        resolver.domain = sync.domain
        return resolver


@pytest.fixture(scope="module")
def around(dns_server: DnsServer) -> Iterator[Around]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Around(server.server_port, dns_server)
        server.shutdown()
        thread.join()


Call = Callable[[Around], Any]
"""A call, or what returns an awaitable."""
Run = Callable[[Callable[[], Awaitable[Any]]], Any]


def on_asyncio(main: Callable[[], Awaitable[Any]]) -> Any:
    return anyio.run(main, backend="asyncio")


def on_uvloop(main: Callable[[], Awaitable[Any]]) -> Any:
    return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": True})


def on_trio(main: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(main)


class OwnThreads(asyncio.SelectorEventLoop):
    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return asyncio.wrap_future(pool.submit(func, *args), loop=self)


def on_own_threads(main: Callable[[], Awaitable[Any]]) -> Any:
    with asyncio.Runner(loop_factory=OwnThreads) as runner:
        return runner.run(main())  # type: ignore[arg-type]


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def aiohttp_get(around: Around, resolver: Any = None) -> None:
    connector = aiohttp.TCPConnector(resolver=resolver or aiohttp.resolver.ThreadedResolver())
    async with aiohttp.ClientSession(connector=connector) as session, session.get(around.url):
        pass


async def httpx_get(around: Around) -> None:
    async with httpx.AsyncClient() as client:
        await client.get(around.url)


async def refused_by_asyncpg(around: Around) -> None:
    # No database: it is the name that counts.
    await asyncpg.connect(host=HOST, port=around.port, user="nobody", database="none", timeout=0.3)


async def stream(around: Around) -> None:
    _, writer = await asyncio.open_connection(*around.address)
    writer.close()


async def connected(around: Around) -> None:
    transport, _ = await loop().create_connection(asyncio.Protocol, *around.address)
    transport.close()


async def anyio_connect(around: Around) -> None:
    await (await anyio.connect_tcp(*around.address)).aclose()


async def trio_open(around: Around) -> None:
    await (await trio.open_tcp_stream(*around.address)).aclose()


async def of_aiodns(around: Around) -> None:
    async with aiodns.DNSResolver() as resolver:
        await resolver.getaddrinfo(HOST)


async def of_pycares(around: Around, method: str, *args: Any) -> None:
    done = asyncio.get_running_loop().create_future()
    told = loop().call_soon_threadsafe
    channel = pycares.Channel(servers=["127.0.0.1"], udp_port=around.dns.port, lookups="fb")
    getattr(channel, method)(*args, callback=lambda *_: told(done.cancel))
    await asyncio.wait([done])
    channel.close()


async def of_aiohttp_and_aiodns(around: Around) -> None:
    await aiohttp_get(around, aiohttp.resolver.AsyncResolver())


def of_override(around: Around) -> None:
    dns.resolver.override_system_resolver(around.resolver())
    try:
        socket.getaddrinfo(DNS_NAME, 80)
    finally:
        dns.resolver.restore_system_resolver()


def http_connect(around: Around) -> None:
    with contextlib.closing(http.client.HTTPConnection(*around.address)) as connection:
        connection.connect()


def of_connect(around: Around) -> None:
    with socket.socket() as one:
        one.connect(around.address)


def of_sendto(around: Around) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"x", around.address)


def of_grpc(around: Around) -> None:
    with grpc.insecure_channel(f"dns:///{HOST}:{around.port}") as channel:
        channel.subscribe(lambda _: None, try_to_connect=True)
        with contextlib.suppress(grpc.FutureTimeoutError):
            grpc.channel_ready_future(channel).result(timeout=0.3)


GEVENT = """
import sys
import otel_dns.client
if sys.argv[2] == "patched first":
    from gevent import monkey
    monkey.patch_all()
otel_dns.client.instrument()
if sys.argv[2] == "patched later":
    from gevent import monkey
    monkey.patch_all()
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
import gevent
if sys.argv[2] == "not patched":
    import gevent.socket as socket
else:
    import socket
address = ("localhost", int(sys.argv[1]))
def connect():
    with socket.socket() as one:
        one.connect(address)
calls = [
    lambda: socket.getaddrinfo("localhost", 80),
    lambda: socket.gethostbyname("localhost"),
    lambda: socket.gethostbyname_ex("localhost"),
    lambda: socket.gethostbyaddr("127.0.0.1"),
    lambda: socket.getnameinfo(("127.0.0.1", 80), 0),
    lambda: socket.getfqdn("127.0.0.1"),
    lambda: socket.create_connection(address).close(),
    connect,
]
def work(number):
    with trace.get_tracer("app").start_as_current_span("work"):
        calls[number]()
greenlets = [gevent.spawn(work, number) for number in range(len(calls))]
gevent.joinall(greenlets, raise_error=True)
socket.getaddrinfo("127.0.0.1", 80)
spans = exporter.get_finished_spans()
parents = [span.context.span_id for span in spans if span.name == "work"]
lookups = [span.parent.span_id for span in spans if span.name == "dns.lookup"]
assert sorted(parents) == sorted(lookups), (parents, [span.to_json() for span in spans])
otel_dns.client.uninstrument()
calls[0]()
assert len(exporter.get_finished_spans()) == len(spans)
"""


def of_gevent(order: str) -> Call:
    def call(around: Around) -> None:
        subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-c", GEVENT, str(around.port), order],
            cwd=PAGE.parents[1],
            check=True,
            timeout=240,
        )

    return call


DNS_NAME = "web.shop.example."
SYNC: tuple[Call, ...] = (
    lambda at: at.resolver().resolve(DNS_NAME, "A"),
    lambda at: at.resolver().resolve_name(DNS_NAME, socket.AF_INET),
    lambda at: at.resolver().resolve_address("10.1.0.1"),
    lambda at: at.resolver().canonical_name(DNS_NAME),
    lambda at: at.resolver().try_ddr(),
    lambda at: dns.resolver.zone_for_name(DNS_NAME, resolver=at.resolver()),
    lambda at: dns.resolver.resolve_at("127.0.0.1", DNS_NAME, port=at.dns.port),
    of_override,
)
ASYNC: tuple[Call, ...] = (
    lambda at: at.asyncresolver().resolve(DNS_NAME, "A"),
    lambda at: at.asyncresolver().resolve_name(DNS_NAME, socket.AF_INET),
    lambda at: at.asyncresolver().resolve_address("10.1.0.1"),
    lambda at: at.asyncresolver().canonical_name(DNS_NAME),
    lambda at: at.asyncresolver().try_ddr(),
    lambda at: dns.asyncresolver.zone_for_name(DNS_NAME, resolver=at.asyncresolver()),
    lambda at: dns.asyncresolver.resolve_at("127.0.0.1", DNS_NAME, port=at.dns.port),
)


def deprecated(around: Around) -> None:
    with pytest.warns(DeprecationWarning, match="resolve"):
        around.resolver().query(DNS_NAME, "A")


def bare_query(around: Around) -> None:
    query = dns.message.make_query(DNS_NAME, "A")
    dns.query.udp(query, "127.0.0.1", timeout=5, port=around.dns.port)


def bare_asyncquery(around: Around) -> Any:
    query = dns.message.make_query(DNS_NAME, "A")
    return dns.asyncquery.udp(query, "127.0.0.1", timeout=5, port=around.dns.port)


@dataclass(frozen=True)
class Row:
    """One row: its calls, where they run, and the spans that each must make."""

    calls: tuple[Call, ...]
    lookups: int = 1
    run: Run | None = None
    child: bool = True
    """Of the span that is active where it is called."""
    type: str | None = None


ROWS: dict[str, tuple[Row, ...]] = {
    "`socket.getaddrinfo`, `socket.create_connection`": (
        Row((
            lambda at: socket.getaddrinfo(HOST, 80),
            lambda at: socket.create_connection(at.address).close(),
            http_connect,
            lambda at: urllib.request.urlopen(at.url).close(),
            lambda at: urllib3.request("GET", at.url, retries=False),
            lambda at: requests.get(at.url, timeout=5),
            lambda at: smtplib.SMTP(local_hostname="here", timeout=0.2).connect(*at.address),
        )),
    ),
    "`socket.gethostbyname`": (
        Row((lambda _: socket.gethostbyname(HOST), lambda _: socket.gethostbyname_ex(HOST))),
    ),
    "`socket.gethostbyaddr`": (
        Row(
            (
                lambda _: socket.gethostbyaddr("127.0.0.1"),
                lambda _: socket.getnameinfo(("127.0.0.1", 80), 0),
                lambda _: socket.getfqdn("127.0.0.1"),
            ),
            type="PTR",
        ),
    ),
    "asyncio": (
        Row(
            (
                lambda _: loop().getaddrinfo(HOST, 80),
                lambda _: loop().getnameinfo(("127.0.0.1", 80)),
                stream, connected, aiohttp_get, httpx_get, refused_by_asyncpg,
            ),
            run=on_asyncio,
        ),
    ),
    "uvloop: `loop.getaddrinfo`": (
        Row(
            (
                lambda _: loop().getaddrinfo(HOST, 80),
                lambda _: loop().getnameinfo(("127.0.0.1", 80)),
                aiohttp_get, anyio_connect,
            ),
            run=on_uvloop,
        ),
    ),
    "uvloop: `loop.create_connection`": (Row((connected, stream), 0, on_uvloop),),
    "anyio, trio": (
        Row((lambda _: anyio.getaddrinfo(HOST, 80), anyio_connect), run=on_asyncio),
        Row(
            (lambda _: trio.socket.getaddrinfo(HOST, 80), trio_open, anyio_connect), run=on_trio
        ),
    ),
    "gevent": (
        Row(tuple(map(of_gevent, ("patched first", "patched later", "not patched"))), 0),
    ),
    "event loops that replace": (
        Row((lambda _: loop().getaddrinfo(HOST, 80),), run=on_own_threads, child=False),
    ),
    "dnspython, sync and async": (Row((*SYNC, deprecated)), Row(ASYNC, run=on_asyncio)),
    "dnspython: `dns.query": (Row((bare_query,), 0), Row((bare_asyncquery,), 0, on_asyncio)),
    "aiodns, pycares": (
        Row(
            (
                of_aiodns,
                of_aiohttp_and_aiodns,
                lambda at: of_pycares(at, "query", DNS_NAME, pycares.QUERY_TYPE_A),
                lambda at: of_pycares(at, "search", DNS_NAME, pycares.QUERY_TYPE_A),
                lambda at: of_pycares(at, "getaddrinfo", HOST, 80),
                lambda at: of_pycares(at, "gethostbyaddr", "127.0.0.1"),
                lambda at: of_pycares(at, "getnameinfo", ("127.0.0.1", 80), 0),
            ),
            run=on_asyncio,
        ),
    ),
    "`socket.connect((name, port))`": (Row((of_connect, of_sendto, of_grpc), 0),),
    "`from socket import getaddrinfo`": (Row((lambda _: TAKEN_BEFORE(HOST, 80),), 0),),
    "addresses as numbers": (
        Row(
            (
                lambda _: socket.getaddrinfo("127.0.0.1", 80),
                lambda _: socket.getaddrinfo("::1", 80),
                lambda _: socket.getaddrinfo(None, 80),
                lambda _: socket.getaddrinfo("127.0.0.1", 80, flags=socket.AI_NUMERICHOST),
                lambda _: socket.gethostbyname("127.0.0.1"),
                lambda _: socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST),
            ),
            0,
        ),
    ),
}  # fmt: skip
"""By the beginning of the row in the page."""


def documented() -> list[str]:
    """The first cells of the page's table."""
    _, _, after = PAGE.read_text().partition("| call | seen |\n|---|---|\n")
    return re.findall(r"^\| (.+?) \| ", after.partition("\n\n")[0], re.MULTILINE)


def test_every_row_of_the_page_is_tried() -> None:
    rows = documented()
    assert rows
    for cell in rows:
        assert sum(cell.startswith(name) for name in ROWS) == 1, cell
    assert len(rows) == len(ROWS)


CASES = [
    pytest.param(row, call, id=f"{name}-{number}.{position}")
    for name, rows in ROWS.items()
    for number, row in enumerate(rows)
    for position, call in enumerate(row.calls)
]


@pytest.mark.parametrize(("row", "call"), CASES)
def test_what_is_seen(around: Around, recorded: Telemetry, row: Row, call: Call) -> None:
    tracer = recorded.tracer_provider.get_tracer("app")

    async def awaited() -> None:
        with tracer.start_as_current_span("work"), contextlib.suppress(Exception):
            await call(around)

    if row.run is not None:
        row.run(awaited)
    else:
        with (
            tracer.start_as_current_span("work"),
            contextlib.suppress(OSError, dns.exception.DNSException),
        ):
            call(around)
    (work,) = [one for one in recorded.spans() if one.name == "work"]
    lookups = recorded.lookups()
    assert len(lookups) == row.lookups
    for lookup in lookups:
        assert lookup.attributes
        if row.type is not None:
            assert lookup.attributes[semconv.DNS_QUESTION_TYPE] == row.type
        if row.child:
            assert lookup.parent
            assert work.context
            assert lookup.parent.span_id == work.context.span_id
