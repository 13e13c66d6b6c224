"""Lookups through an event loop: asyncio's own, those derived from it, and uvloop's.

An event loop looks names up in a thread of its executor, which knows nothing of the task that
waits. So the lookup is recorded here, where the task is, and what the thread does makes no second
one.
"""

import asyncio
import functools
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from typing import Any

from otel_dns.client import getaddrinfo, gethostby
from otel_dns.client.details import Lookup
from otel_dns.client.instrumentor import LookupInstrumentor
from otel_dns.client.patch import AsyncPatch, Reading, Replacement
from otel_dns.client.recorder import Recorder, current, in_lookup, quietly
from otel_dns.client.stub import of_this_process


class EventLoopInstrumentor(LookupInstrumentor):
    """Makes a span and a measurement of every lookup that a task awaits from its event loop.

    These are ``loop.getaddrinfo`` and ``loop.getnameinfo``, and so everything that connects by
    name in asyncio: streams, aiohttp, httpx, asyncpg, anyio and so on. Of uvloop only calls of
    these two: its own connections look names up below Python.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no requirement: asyncio is always there."""
        return ()

    def _patch(self, recorder: Recorder) -> Iterable[Replacement]:
        stub = of_this_process()
        names = _keywords_only(getaddrinfo.reading(stub, "asyncio.loop.getaddrinfo"))
        addresses = _with_default(gethostby.of_socket_address("asyncio.loop.getnameinfo", stub))
        yield Replacement(BaseEventLoop, "run_in_executor", _hand_over)
        can_hand_over = BaseEventLoop.run_in_executor

        def patches(loop: Any, condition: Callable[..., Any] | None) -> Iterable[Replacement]:
            yield AsyncPatch(loop, "getaddrinfo", _of_loop(names, condition), recorder)
            yield AsyncPatch(loop, "getnameinfo", _of_loop(addresses, condition), recorder)

        yield from patches(BaseEventLoop, can_hand_over)
        self._patch_later("uvloop", lambda: patches(import_module("uvloop").Loop, None))


def _of_loop(reading: Reading, can_hand_over: Callable[..., Any] | None) -> Reading:
    """Return how to read a loop's method of the same arguments.

    Args:
        reading: How to read the function.
        can_hand_over: What ``run_in_executor`` the loop must have for its thread to be kept
            quiet. A loop with one of its own is left alone: its thread then records the lookup.
    """

    def lookup(loop: asyncio.AbstractEventLoop, *args: Any, **kwargs: Any) -> Lookup | None:
        if can_hand_over is not None and type(loop).run_in_executor is not can_hand_over:
            return None
        return reading.lookup(*args, **kwargs)

    return reading._replace(lookup=lookup)


def _keywords_only(reading: Reading) -> Reading:
    """Return how to read calls of a loop's getaddrinfo, which takes options by name only."""

    def lookup(
        host: object,
        port: object,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the signature read
        proto: int = 0,
        flags: int = 0,
    ) -> Lookup | None:
        return reading.lookup(host, port, family, type, proto, flags)

    return reading._replace(lookup=lookup)


def _with_default(reading: Reading) -> Reading:
    """Return how to read calls of a loop's getnameinfo, which has a default for the flags."""

    def lookup(sockaddr: tuple[Any, ...], flags: int = 0) -> Lookup | None:
        return reading.lookup(sockaddr, flags)

    return reading._replace(lookup=lookup)


def _hand_over(original: Callable[..., Any]) -> Callable[..., Any]:
    # For calls within a recorded lookup only; for all others it is nothing but a frame.
    def run_in_executor(
        self: BaseEventLoop, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        if in_lookup():
            func = functools.partial(quietly, current(), func)
        return original(self, executor, func, *args)

    return run_in_executor
