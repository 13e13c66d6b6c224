"""The memory of the whole process: near its limit senders are told to come again.

Refuse first, never be killed: the kernel's answer to a container over its limit is SIGKILL, which
loses everything that is held.
"""

import contextlib
import ctypes
import gc
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from otel_dns.service.configuration.quantities import Size
from otel_dns.service.configuration.settings import ServeSettings

_log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.02
_FULL_AT: Final = 0.75
"""Of the limit: what was let in already grows while it is looked at."""
_LEAST_ROOM: Final = 32 << 20
_MIB: Final = 1 << 20
_TRIM_EVERY_S: Final = 2.0
_CGROUP_LIMITS: Final = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_NO_LIMIT: Final = 1 << 50
_YOUNG: Final = 50_000
_GENERATIONS: Final = 20
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Of ``malloc.h``."""
_LARGE_BLOCK: Final = 1 << 18
_KEPT_AT_TOP: Final = 1 << 24
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def container_limit() -> int | None:
    """Return what this process's cgroup may use; None where there is no limit."""
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limit = int(Path(path).read_text().strip())
            if limit < _NO_LIMIT:
                return limit
    return None


def limited(settings: ServeSettings, itself: int) -> ServeSettings:
    """Return settings whose parts fit the memory limit together.

    A quarter of the limit is for work under way; a request may have a sixteenth of that, as twelve
    are read at once. Of the rest, less the program itself, the join may hold one half, what waits
    at the outputs three tenths, what was received and not yet looked at two.

    Args:
        settings: as they were read.
        itself: bytes that the program takes before it holds anything.
    """
    limit: int | None = settings.memory_limit
    if limit is None:
        container = container_limit()
        if container is None:
            return settings
        limit = container * 9 // 10
    receivers, join, outputs = settings.receivers, settings.join, settings.outputs
    room = round(limit * _FULL_AT) - itself
    if room < _LEAST_ROOM:
        _log.warning(
            "memory_limit: %d MiB leave little room beside the %d that the program takes itself;"
            " give it %d MiB at least, or it will often tell senders to come again",
            limit // _MIB, itself // _MIB, math.ceil((itself + _LEAST_ROOM) / _FULL_AT / _MIB),
        )  # fmt: skip
        room = limit // 4
    queue, request = room * 3 // 10 // len(outputs), limit // 64
    replace = msgspec.structs.replace
    return replace(
        settings,
        memory_limit=Size(limit),
        receivers=replace(
            receivers,
            max_waiting=Size(min(receivers.max_waiting, room // 5)),
            otlp=replace(
                receivers.otlp, max_request=Size(min(receivers.otlp.max_request, request))
            ),
            http=replace(
                receivers.http, max_request=Size(min(receivers.http.max_request, request))
            ),
        ),
        join=replace(join, max_bytes=Size(min(join.max_bytes, room // 2))),
        outputs=tuple(replace(each, queue=Size(min(each.queue, queue))) for each in outputs),
    )


def collect_seldom() -> None:
    """Let Python look for cycles of garbage less often, in this whole process.

    What waits in the join is millions of objects without such cycles: they go when they are let go.
    Python's defaults walk all of them again and again in vain, for a third of the CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _GENERATIONS, _GENERATIONS)


def give_back() -> None:
    """Let large blocks go back to the system as soon as they are freed, where the library is glibc.

    By itself it keeps them once there was one, and what is left between them cannot be given back.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_AT_TOP)


class MemoryGuard:
    """Tells receivers when the process is near its limit."""

    def __init__(self, limit: int | None, idle: Callable[[], bool]) -> None:
        """Make a guard.

        Args:
            limit: bytes; None: never full.
            idle: whether nothing is held. What the process keeps then is not given back by
                refusing more.
        """
        self._limit = limit
        self._idle = idle
        self._looked = self._trimmed = -math.inf
        self._scarce = self._full = False

    def full(self) -> bool:
        """Whether nothing more should be let in; from any thread, cheap."""
        self._look()
        return self._full

    def scarce(self) -> bool:
        """Whether the process is near its limit, whatever for; from any thread, cheap."""
        self._look()
        return self._scarce

    def _look(self) -> None:
        now = time.monotonic()
        if self._limit is None or now < self._looked + _LOOK_EVERY_S:
            return
        self._looked = now
        self._scarce = resident() > self._limit * _FULL_AT
        self._full = self._scarce and not self._idle()
        if self._scarce and now >= self._trimmed + _TRIM_EVERY_S:
            self._trimmed = now
            trim()


def resident() -> int:
    """Return the resident memory of this process, in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - ten times a second
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def trim() -> None:
    """Give freed memory back to the system, where the C library can (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
