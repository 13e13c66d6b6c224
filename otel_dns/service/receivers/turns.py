"""Turns to be read: so many at one time in all, and so many of one peer, for a time, while it fits.

Without them a few senders that send slowly would keep all others waiting; and what is not whole yet
would fill the memory, which whoever sends it need not even send to its end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

_READING: Final = 12
_READING_OF_A_PEER: Final = 6
_LOOK_S: Final = 0.02


class CutOffError(TimeoutError):
    """There is no memory to read on."""


class Turns:
    """Of one listener; for one event loop."""

    def __init__(self, scarce: Callable[[], bool]) -> None:
        """Make turns.

        Args:
            scarce: whether memory is: then one is read at a time, and the others are cut off.
        """
        self._all = asyncio.Semaphore(_READING)
        self._peers: dict[str, tuple[asyncio.Semaphore, int]] = {}
        self._had = 0
        self._scarce = scarce
        self._reading: dict[asyncio.Timeout, None] = {}
        """The oldest first."""
        self._cut_off: set[asyncio.Timeout] = set()
        self._look_again: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def of(self, peer: str) -> AsyncIterator[None]:
        """Wait for a turn of a peer's, and have it."""
        own, users = self._peers.get(peer) or (asyncio.Semaphore(_READING_OF_A_PEER), 0)
        self._peers[peer] = own, users + 1
        try:
            async with own, self._all:
                self._had += 1
                try:
                    yield
                finally:
                    self._had -= 1
        finally:
            own, users = self._peers.pop(peer)
            if users > 1:
                self._peers[peer] = own, users - 1

    @asynccontextmanager
    async def reading(self, within_s: float) -> AsyncIterator[None]:
        """Read, within a time.

        Raises:
            CutOffError: there is no memory to read on.
            TimeoutError: it took longer.
        """
        if self._had > 1 and self._scarce():
            raise CutOffError("there is no memory to read this too")
        if self._look_again is None:
            self._look_later()
        time = asyncio.timeout(within_s)
        try:
            async with time:
                self._reading[time] = None
                try:
                    yield
                finally:
                    del self._reading[time]
        except TimeoutError:
            if time in self._cut_off:
                raise CutOffError("there is no memory to read on") from None
            raise
        finally:
            self._cut_off.discard(time)

    def _look_later(self) -> None:
        self._look_again = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._look_again = None
        if not self._reading:
            return
        if len(self._reading) > 1 and self._scarce():
            for time in list(self._reading)[1:]:
                if time not in self._cut_off:
                    self._cut_off.add(time)
                    time.reschedule(asyncio.get_running_loop().time())
        self._look_later()
