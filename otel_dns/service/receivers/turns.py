"""Turns to be read: so many at one time in all, and so many of one peer, for a time, while it fits.

Without them a few senders that send slowly would keep all others waiting; and what is not whole yet
would fill the memory, which whoever sends it need not even send to its end. A sender is slow if
others wait for its turn; alone it may take its time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

_READING: Final = 12
_READING_OF_A_PEER: Final = 6
_LOOK_S: Final = 0.02
_SLOW_S: Final = 2.0
"""After so long whoever is read gives way to those who wait for a turn."""


class CutOffError(TimeoutError):
    """There is no memory to read on, or others wait."""


class Turns:
    """Of one listener; for one event loop."""

    def __init__(self, scarce: Callable[[], bool]) -> None:
        """Make turns.

        Args:
            scarce: whether memory is: then one is read at a time, and the others are cut off.
        """
        self._all = asyncio.Semaphore(_READING)
        self._peers: dict[str, tuple[asyncio.Semaphore, int]] = {}
        self._had = self._wanted = 0
        self._scarce = scarce
        self._reading: dict[asyncio.Timeout, float] = {}
        """The oldest first, each with the loop's time when it began."""
        self._cut_off: set[asyncio.Timeout] = set()
        self._look_again: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def of(self, peer: str) -> AsyncIterator[None]:
        """Wait for a turn of a peer's, and have it."""
        own, users = self._peers.get(peer) or (asyncio.Semaphore(_READING_OF_A_PEER), 0)
        self._peers[peer] = own, users + 1
        try:
            async with own:
                self._wanted += 1
                try:
                    await self._all.acquire()
                finally:
                    self._wanted -= 1
                self._had += 1
                try:
                    yield
                finally:
                    self._had -= 1
                    self._all.release()
        finally:
            own, users = self._peers.pop(peer)
            if users > 1:
                self._peers[peer] = own, users - 1

    @asynccontextmanager
    async def reading(self, within_s: float) -> AsyncIterator[None]:
        """Read, within a time.

        Raises:
            CutOffError: there is no memory to read on, or others wait for a turn.
            TimeoutError: it took longer.
        """
        if self._had > 1 and self._scarce():
            raise CutOffError("there is no memory to read this too")
        if self._look_again is None:
            self._look_later()
        time = asyncio.timeout(within_s)
        try:
            async with time:
                self._reading[time] = asyncio.get_running_loop().time()
                try:
                    yield
                finally:
                    del self._reading[time]
        except TimeoutError:
            if time in self._cut_off:
                raise CutOffError("there is no memory to read on, or others wait") from None
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
            self._cut(list(self._reading)[1:])
        elif self._wanted > _READING - self._had:  # turns just given back are theirs already
            slow_from = asyncio.get_running_loop().time() - _SLOW_S
            slow = [time for time, began in self._reading.items() if began <= slow_from]
            self._cut(slow[: self._wanted + self._had - _READING])
        self._look_later()

    def _cut(self, off: Iterable[asyncio.Timeout]) -> None:
        for time in off:
            if time not in self._cut_off:
                self._cut_off.add(time)
                time.reschedule(asyncio.get_running_loop().time())
