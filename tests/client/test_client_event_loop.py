import asyncio
import contextvars
import inspect
import socket
import threading
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

import otel_dns.client
from otel_dns import semconv
from tests.client.support import Telemetry

BARE = {name: getattr(BaseEventLoop, name) for name in ("getaddrinfo", "getnameinfo")}
RUN_IN_EXECUTOR = BaseEventLoop.run_in_executor
LOCALHOST = socket.getaddrinfo("localhost", 80)
MISSING = "no such host"

Loops = Callable[[], asyncio.AbstractEventLoop]


class CarryingContext(asyncio.SelectorEventLoop):
    """Carries the context into threads, as many programs do."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        return super().run_in_executor(executor, contextvars.copy_context().run, func, *args)


class OwnThreads(asyncio.SelectorEventLoop):
    """Has threads of its own, as the loops of graphical toolkits do."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        pool = ThreadPoolExecutor(1)
        try:
            return asyncio.wrap_future(pool.submit(func, *args), loop=self)
        finally:
            pool.shutdown(wait=False)


class Derived(asyncio.SelectorEventLoop):
    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return await super().getaddrinfo(host, port, **options)


def uvloop_loop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").Loop()
    return loop


def run(main: Coroutine[Any, Any, Any], loops: Loops = asyncio.SelectorEventLoop) -> Any:
    with asyncio.Runner(loop_factory=loops) as runner:
        return runner.run(main)


async def look_up(host: Any = "localhost", **options: Any) -> Any:
    return await asyncio.get_running_loop().getaddrinfo(host, 80, **options)


def under_work(telemetry: Telemetry, awaitable: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
    async def work() -> Any:
        tracer = telemetry.tracer_provider.get_tracer("app")
        with tracer.start_as_current_span("work"):
            return await awaitable()

    return work()


def the_lookup(telemetry: Telemetry) -> Any:
    """Return the one lookup span, after seeing that it is the child of the task's span."""
    (lookup,) = [span for span in telemetry.spans() if span.name == semconv.LOOKUP_SPAN]
    (work,) = [span for span in telemetry.spans() if span.name == "work"]
    assert lookup.parent is not None
    assert work.context is not None
    assert lookup.parent.span_id == work.context.span_id
    return lookup


@pytest.mark.parametrize(
    "loops", [asyncio.SelectorEventLoop, CarryingContext, Derived, uvloop_loop]
)
@pytest.mark.parametrize("debug", [False, True])
def test_child_of_the_awaiting_task(recorded: Telemetry, loops: Loops, debug: bool) -> None:
    with asyncio.Runner(loop_factory=loops, debug=debug) as runner:
        assert runner.run(under_work(recorded, look_up)) == LOCALHOST
    lookup = the_lookup(recorded)
    assert lookup.attributes[semconv.DNS_QUESTION_NAME] == "localhost"
    if loops is not CarryingContext:
        assert lookup.attributes[semconv.LOOKUP_API] == "asyncio.loop.getaddrinfo"
    assert "127.0.0.1" in lookup.attributes[semconv.DNS_ANSWERS]
    assert recorded.points(semconv.DNS_LOOKUP_DURATION)[0].count == 1


def test_a_loop_with_threads_of_its_own(recorded: Telemetry) -> None:
    assert run(under_work(recorded, look_up), OwnThreads) == LOCALHOST
    (lookup,) = [span for span in recorded.spans() if span.name == semconv.LOOKUP_SPAN]
    assert (lookup.attributes or {})[semconv.LOOKUP_API] == "socket.getaddrinfo"


@pytest.mark.parametrize("loops", [asyncio.SelectorEventLoop, uvloop_loop])
@pytest.mark.parametrize("options", [{}, {"flags": socket.NI_NUMERICSERV}])
def test_getnameinfo(recorded: Telemetry, loops: Loops, options: dict[str, int]) -> None:
    async def name() -> Any:
        return await asyncio.get_running_loop().getnameinfo(("127.0.0.1", 80), **options)

    assert run(under_work(recorded, name), loops)
    found = the_lookup(recorded).attributes
    assert found[semconv.DNS_QUESTION_NAME] == "127.0.0.1"
    assert found[semconv.DNS_QUESTION_TYPE] == "PTR"
    assert found[semconv.LOOKUP_API] == "asyncio.loop.getnameinfo"


@pytest.mark.parametrize("loops", [asyncio.SelectorEventLoop, uvloop_loop])
def test_a_failed_lookup(recorded: Telemetry, loops: Loops) -> None:
    with pytest.raises(socket.gaierror) as raised:
        run(look_up(MISSING), loops)
    span = recorded.span()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})[semconv.ERROR_TYPE] == "host_not_found"
    assert raised.value.__context__ is None


@pytest.mark.parametrize("loops", [asyncio.SelectorEventLoop, uvloop_loop])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", b"127.0.0.1", None])
def test_no_span_where_nothing_is_looked_up(recorded: Telemetry, loops: Loops, host: Any) -> None:
    run(look_up(host), loops)
    assert not recorded.spans()
    assert not recorded.points(semconv.DNS_LOOKUP_DURATION)


def test_concurrent_tasks(recorded: Telemetry) -> None:
    tracer = recorded.tracer_provider.get_tracer("app")

    async def one(number: int) -> None:
        with tracer.start_as_current_span(f"work {number}"):
            await look_up()
            await look_up()

    async def main() -> None:
        await asyncio.gather(*map(one, range(20)))

    run(main())
    spans = recorded.spans()
    parents = [span.parent.span_id for span in spans if span.parent is not None]
    works = [span.context.span_id for span in spans if span.context and "work" in span.name]
    assert sorted(parents) == sorted(works * 2)


def test_an_executor_of_the_applications_own(recorded: Telemetry) -> None:
    class Executor(ThreadPoolExecutor):
        submitted = 0

        def submit(self, *args: Any, **kwargs: Any) -> Any:
            self.submitted += 1
            return super().submit(*args, **kwargs)

    executor = Executor(1)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(executor)
        await look_up()

    run(under_work(recorded, main))
    assert executor.submitted == 1
    the_lookup(recorded)


def test_a_lookup_put_into_an_executor_by_hand(recorded: Telemetry) -> None:
    async def by_hand() -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, socket.getaddrinfo, "localhost", 80)

    run(by_hand())
    assert (recorded.span().attributes or {})[semconv.LOOKUP_API] == "socket.getaddrinfo"


def test_the_executors_threads_are_left_as_they_were(recorded: Telemetry) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        await look_up()
        await loop.run_in_executor(None, socket.getaddrinfo, "localhost", 80)

    run(main())
    assert len(recorded.spans()) == 2


class Slow:
    """A C library that takes its time: no server on this machine is slow at command."""

    def __init__(self) -> None:
        self.asked, self.release = threading.Event(), threading.Event()

    def getaddrinfo(self, *args: Any) -> Any:
        self.asked.set()
        self.release.wait(60)
        return LOCALHOST


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow()
    monkeypatch.setattr("socket._socket.getaddrinfo", slow.getaddrinfo)
    yield slow
    slow.release.set()


def test_a_cancelled_lookup(recorded: Telemetry, slow: Slow) -> None:
    pool = ThreadPoolExecutor(2)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(pool)
        task = asyncio.create_task(look_up())
        await asyncio.to_thread(slow.asked.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (recorded.span().attributes or {})[semconv.ERROR_TYPE].endswith("CancelledError")
        # Let the thread finish too: what it does is no lookup of its own.
        slow.release.set()
        pool.shutdown()

    run(main())
    assert recorded.span().status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("loops", [asyncio.SelectorEventLoop, uvloop_loop])
def test_a_lookup_given_up_for_time(recorded: Telemetry, loops: Loops) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(look_up())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main(), loops)
    found = recorded.span().attributes or {}
    assert found[semconv.ERROR_TYPE] == "asyncio.exceptions.CancelledError"


def test_streams_are_seen(recorded: Telemetry) -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def connect() -> None:
            _, writer = await asyncio.open_connection("localhost", port, family=socket.AF_INET)
            writer.close()

        async with server:
            await under_work(recorded, connect)

    run(main())
    assert the_lookup(recorded).attributes[semconv.LOOKUP_FAMILY] == "inet"


def test_uvloops_own_connections_are_not_seen(recorded: Telemetry) -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("localhost", port, family=socket.AF_INET)
            writer.close()

    run(main(), uvloop_loop)
    assert not recorded.spans()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(recorded: Telemetry, backend: str) -> None:
    anyio = pytest.importorskip("anyio")
    pytest.importorskip(backend)

    async def lookup() -> Any:
        return await anyio.getaddrinfo("localhost", 80)

    assert anyio.run(lambda: under_work(recorded, lookup), backend=backend)
    found = the_lookup(recorded).attributes
    expected = "asyncio.loop.getaddrinfo" if backend == "asyncio" else "socket.getaddrinfo"
    assert found[semconv.LOOKUP_API] == expected


@pytest.mark.parametrize(
    ("function", "args", "asked"),
    [
        ("getaddrinfo", ("localhost", 80), "localhost"),
        ("getnameinfo", (("127.0.0.1", 80), 0), "127.0.0.1"),
    ],
)
def test_trio(recorded: Telemetry, function: str, args: Any, asked: str) -> None:
    trio = pytest.importorskip("trio")

    async def lookup() -> Any:
        return await getattr(trio.socket, function)(*args)

    trio.run(lambda: under_work(recorded, lookup))
    assert the_lookup(recorded).attributes[semconv.DNS_QUESTION_NAME].encode() == asked.encode()


def test_trio_with_a_number_makes_no_span(recorded: Telemetry) -> None:
    trio = pytest.importorskip("trio")

    async def lookup() -> Any:
        return await trio.socket.getaddrinfo("127.0.0.1", 80)

    trio.run(lookup)
    assert not recorded.spans()


@pytest.mark.parametrize("name", ["getaddrinfo", "getnameinfo"])
def test_looks_the_same(recorded: Telemetry, name: str) -> None:
    ours = getattr(BaseEventLoop, name)
    assert ours is not BARE[name]
    assert inspect.iscoroutinefunction(ours)
    assert inspect.signature(ours) == inspect.signature(BARE[name])
    assert (ours.__doc__, ours.__qualname__, ours.__module__) == (
        BARE[name].__doc__,
        BARE[name].__qualname__,
        BARE[name].__module__,
    )


def test_uninstrument_restores(recorded: Telemetry) -> None:
    kept = BaseEventLoop.getaddrinfo
    assert BaseEventLoop.run_in_executor is not RUN_IN_EXECUTOR
    otel_dns.client.uninstrument()
    assert BaseEventLoop.getaddrinfo is BARE["getaddrinfo"]
    assert BaseEventLoop.getnameinfo is BARE["getnameinfo"]
    assert BaseEventLoop.run_in_executor is RUN_IN_EXECUTOR

    async def main() -> None:
        await kept(asyncio.get_running_loop(), "localhost", 80)  # type: ignore[arg-type]

    run(main())
    assert not recorded.spans()


def test_uninstrument_restores_uvloop(recorded: Telemetry) -> None:
    loop = pytest.importorskip("uvloop").Loop
    assert "getaddrinfo" in vars(loop)
    otel_dns.client.uninstrument()
    assert "getaddrinfo" not in vars(loop)
    assert "getnameinfo" not in vars(loop)


def test_wrong_arguments(recorded: Telemetry) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            await loop.getaddrinfo("localhost")
        with pytest.raises(TypeError, match="positional argument"):
            await loop.getaddrinfo("localhost", 80, socket.AF_INET)

    run(main())
    assert not recorded.spans()
    assert not recorded.points(semconv.CLIENT_FAILURES)


def test_never_awaited(recorded: Telemetry) -> None:
    loop = asyncio.SelectorEventLoop()
    with pytest.warns(RuntimeWarning, match=r"'BaseEventLoop\.getaddrinfo' was never awaited"):
        loop.getaddrinfo("localhost", 80)
    loop.close()
    assert not recorded.spans()
