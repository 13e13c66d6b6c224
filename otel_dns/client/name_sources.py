"""Who else than DNS could answer a lookup of the C library: nsswitch.conf(5) and hosts(5).

`parse_sources` and `parse_hosts` are pure; `Reader` is the thin layer that touches files.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from otel_dns.names import normalise

HOSTS: Final = Path("/etc/hosts")
NSSWITCH: Final = Path("/etc/nsswitch.conf")
NSCD_SOCKET: Final = Path("/var/run/nscd/socket")

_FILES: Final = "files"
_DNS: Final = "dns"
_DEFAULT: Final[tuple[str, ...]] = (_FILES, _DNS)
"""What glibc takes when the file says nothing of hosts (nss/nss_database.c: ``files dns``)."""
_ACTIONS: Final = re.compile(r"\[[^\]]*\]")
_MAX_FILE_CHARS: Final = 1 << 20
_MAX_NAMES: Final = 10_000
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class NameSources:
    """What a lookup of the C library asks before, and instead of, DNS."""

    hosts: frozenset[str] = frozenset()
    """Names and addresses of /etc/hosts, as `normalise` gives them; none if it is not asked."""
    others: tuple[str, ...] = ()
    """All other sources that are asked before DNS: ``myhostname``, ``mdns4_minimal``, ``nscd``."""

    def besides_dns(self, name: str) -> tuple[str, ...]:
        """Return who could have answered a lookup without any query, in their order.

        Args:
            name: As the application asked for it; or an address, whose name it asked for.
        """
        if self.hosts and normalise(name) in self.hosts:
            return (_FILES, *self.others)
        return self.others


DNS_ONLY: Final = NameSources()


def parse_sources(text: str) -> tuple[str, ...]:
    """Read the sources of hosts from the text of an nsswitch.conf.

    Args:
        text: The file's content.

    Returns:
        Those that are asked before DNS, and DNS; without the actions in brackets.
    """
    for line in text.splitlines():
        key, colon, rest = line.partition("#")[0].partition(":")
        if colon and key.strip() == "hosts":
            asked = tuple(_ACTIONS.sub(" ", rest).split())
            return asked[: asked.index(_DNS) + 1] if _DNS in asked else asked
    return _DEFAULT


def parse_hosts(text: str) -> frozenset[str]:
    """Read the names and addresses from the text of a hosts file.

    Args:
        text: The file's content.
    """
    found: set[str] = set()
    for line in text.splitlines():
        found.update(map(normalise, line.partition("#")[0].split()))
        if len(found) > _MAX_NAMES:
            break
    return frozenset(found)


class Reader:
    """The sources in force, read again when one of the files changed.

    Needs no lock: threads that race read the same files and store equal results.
    """

    def __init__(
        self,
        libc: str,
        hosts: Path = HOSTS,
        nsswitch: Path = NSSWITCH,
        nscd: Path = NSCD_SOCKET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to read; nothing is read before the first `current`.

        Args:
            libc: Whose rules to follow: musl knows /etc/hosts and DNS only.
            hosts: hosts(5).
            nsswitch: nsswitch.conf(5).
            nscd: The name service cache daemon's socket; where it is, it answers first.
            clock: Monotonic seconds.
        """
        self._switched = libc != "musl"
        self._hosts = _Watched(hosts, parse_hosts, frozenset[str]())
        self._nsswitch = _Watched(nsswitch, parse_sources, _DEFAULT)
        self._nscd = nscd
        self._clock = clock
        self._next_look = float("-inf")
        self._current = DNS_ONLY

    def current(self) -> NameSources:
        """Return the sources in force; the same object for as long as they did not change."""
        now = self._clock()
        if now >= self._next_look:
            asked = self._nsswitch.current() if self._switched else _DEFAULT
            others = tuple(source for source in asked if source not in {_FILES, _DNS})
            if self._switched and self._nscd.exists():
                others = ("nscd", *others)
            hosts = self._hosts.current() if _FILES in asked else frozenset[str]()
            found = NameSources(hosts, others)
            if found != self._current:
                self._current = found
            self._next_look = now + 1.0
        return self._current


class _Watched(Generic[_Read]):
    """A file that is read again when its status changed."""

    def __init__(self, path: Path, parse: Callable[[str], _Read], missing: _Read) -> None:
        self._path = path
        self._parse = parse
        self._missing = missing
        self._seen: object = self
        self._value: _Read = missing

    def current(self) -> _Read:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - half the cost of Path.stat
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                with self._path.open(encoding="utf-8", errors="replace") as file:
                    self._value = self._parse(file.read(_MAX_FILE_CHARS))
                self._seen = seen
        except OSError:
            self._seen, self._value = None, self._missing
        return self._value
