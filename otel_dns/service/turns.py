"""Turns to be read: so many at one time in all, and so many of one peer.

Without them a few senders that send slowly would keep all others waiting.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_READING: Final = 12
_READING_OF_A_PEER: Final = 6


class Turns:
    """Of one listener; for one event loop."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(_READING)
        self._peers: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def of(self, peer: str) -> AsyncIterator[None]:
        """Wait for a turn of a peer's, and have it."""
        own, users = self._peers.get(peer) or (asyncio.Semaphore(_READING_OF_A_PEER), 0)
        self._peers[peer] = own, users + 1
        try:
            async with own, self._all:
                yield
        finally:
            own, users = self._peers.pop(peer)
            if users > 1:
                self._peers[peer] = own, users - 1
