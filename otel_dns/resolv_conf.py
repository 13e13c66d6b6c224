"""resolv.conf(5), read as glibc reads it into one frozen object.

`parse` is pure; `load` and `Reader` are the thin layer that touches files.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Final

DEFAULT_PATH: Final = Path("/etc/resolv.conf")

_MAX_NAMESERVERS = 3
_MAX_NDOTS = 15
_MAX_TIMEOUT = 30
_MAX_ATTEMPTS = 5
_MAX_FILE_CHARS = 1 << 20
_BLANK = " \t"
_NO_ENVIRON: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a stub resolver is told to do; the defaults are those of an empty file."""

    nameservers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: int = 5
    attempts: int = 2
    options: tuple[str, ...] = ()
    """Every other option, as written: ``rotate``, ``single-request``, ``use-vc``, ..."""


def parse(text: str, environ: Mapping[str, str] = _NO_ENVIRON, *, hostname: str = "") -> ResolvConf:
    """Read the text of a resolv.conf under glibc's rules and limits. Never raises.

    Args:
        text: The file's content.
        environ: Where ``LOCALDOMAIN`` and ``RES_OPTIONS`` are looked up; they win over the file.
        hostname: The machine's name; its domain is the search list when nothing else gives one.

    Returns:
        The configuration in force.
    """
    nameservers: list[str] = []
    search: tuple[str, ...] | None = None
    options: list[str] = []
    for line in text.split("\n"):
        keyword, rest = _keyword(line)
        if keyword == "nameserver":
            address = _first_word(rest)
            if _is_address(address) and len(nameservers) < _MAX_NAMESERVERS:
                nameservers.append(address)
        elif keyword == "domain":
            search = tuple(_words(rest)[:1]) or search
        elif keyword == "search":
            search = tuple(_words(rest)) or search
        elif keyword == "options":
            options += _words(rest)

    local_domain = environ.get("LOCALDOMAIN")
    if local_domain is not None:
        # Set but empty means the root: names are looked up as they are.
        search = tuple(_words(local_domain.partition("\n")[0])) or (".",)
    elif search is None:
        domain = hostname.partition(".")[2]
        search = (domain,) if domain else ()
    options += _words(environ.get("RES_OPTIONS", ""))
    return _with_options(tuple(nameservers) or ResolvConf().nameservers, search, options)


def load(
    path: Path = DEFAULT_PATH, environ: Mapping[str, str] = _NO_ENVIRON, *, hostname: str = ""
) -> ResolvConf:
    """Read a resolv.conf; one that cannot be read counts as empty, as it does for glibc.

    Args:
        path: The file.
        environ: As for `parse`.
        hostname: As for `parse`.

    Returns:
        The configuration in force.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_FILE_CHARS)
    except OSError:
        text = ""
    return parse(text, environ, hostname=hostname)


class Reader:
    """A resolv.conf that is read again when it changed, and looked at once a second at most.

    Needs no lock: threads that race read the same file and store equal results.
    """

    def __init__(
        self,
        path: Path = DEFAULT_PATH,
        environ: Mapping[str, str] = _NO_ENVIRON,
        *,
        hostname: str = "",
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to read; nothing is read before the first `current`.

        Args:
            path: The file.
            environ: As for `parse`; looked at whenever the file is read.
            hostname: As for `parse`.
            interval: Seconds between two looks at the file's status.
            clock: Monotonic seconds.
        """
        self._path = path
        self._environ = environ
        self._hostname = hostname
        self._interval = interval
        self._clock = clock
        self._next_look = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._conf: ResolvConf | None = None

    def current(self) -> ResolvConf:
        """Return the configuration in force; the same object for as long as it did not change."""
        now = self._clock()
        if self._conf is not None and now < self._next_look:
            return self._conf
        # The status comes before the text: a change in between is then seen at the next look.
        status = _status(self._path)
        if self._conf is None or status != self._seen:
            conf = load(self._path, self._environ, hostname=self._hostname)
            if conf != self._conf:
                self._conf = conf
            self._seen = status
        self._next_look = now + self._interval
        return self._conf


def _status(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _keyword(line: str) -> tuple[str, str]:
    """Split a line into its keyword, which starts it and ends at a blank, and what follows."""
    for keyword in ("nameserver", "search", "domain", "options"):
        if line.startswith(keyword) and line[len(keyword) : len(keyword) + 1] in (" ", "\t"):
            return keyword, line[len(keyword) :]
    return "", ""


def _words(text: str) -> list[str]:
    # Blanks and tabs separate, as for glibc; str.split() alone knows many more separators.
    return [word for word in text.rstrip("\r\n").replace("\t", " ").split(" ") if word]


def _first_word(text: str) -> str:
    word = text.lstrip(_BLANK)
    for end in ";# \t\r":
        word = word.partition(end)[0]
    return word


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _with_options(
    nameservers: tuple[str, ...], search: tuple[str, ...], words: list[str]
) -> ResolvConf:
    defaults = ResolvConf()
    ndots, timeout, attempts = defaults.ndots, defaults.timeout, defaults.attempts
    others: list[str] = []
    for word in words:
        name, colon, value = word.partition(":")
        if name == "ndots" and colon:
            ndots = _number(value, _MAX_NDOTS)
        elif name == "timeout" and colon:
            timeout = _number(value, _MAX_TIMEOUT)
        elif name == "attempts" and colon:
            attempts = _number(value, _MAX_ATTEMPTS)
        elif word not in others:
            others.append(word)
    return ResolvConf(nameservers, search, ndots, timeout, attempts, tuple(others))


def _number(text: str, most: int) -> int:
    """Read a number as C's atoi does, within 0 and a limit."""
    digits = text[:9]
    while digits and not (digits.isascii() and digits.isdecimal()):
        digits = digits[:-1]
    return min(int(digits or "0"), most)
