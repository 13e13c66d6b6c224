"""Lookups through c-ares: aiodns, and pycares below it."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Final
from weakref import WeakKeyDictionary

from otel_dns import semconv
from otel_dns.client.details import Lookup, Outcome, Resolver
from otel_dns.client.getaddrinfo import is_numeric, text_of
from otel_dns.client.instrumentor import LookupInstrumentor
from otel_dns.client.patch import Replacement
from otel_dns.client.recorder import Recorder
from otel_dns.client.stub import Configured, SourceAddresses, Stub

_KIND: Final = "c-ares"
_REVERSE: Final = "PTR"
_FAMILIES: Final = {0: "any", 2: "inet", 10: "inet6"}
_MAX_ANSWERS: Final = 32
_ERRORS: Final = {
    "ARES_ENODATA": (semconv.ERROR_NO_DATA, "NOERROR"),
    "ARES_EFORMERR": (semconv.ERROR_NO_RECOVERY, "FORMERR"),
    "ARES_ESERVFAIL": (semconv.ERROR_TRY_AGAIN, "SERVFAIL"),
    "ARES_ENOTFOUND": (semconv.ERROR_HOST_NOT_FOUND, "NXDOMAIN"),
    "ARES_ENOTIMP": (semconv.ERROR_NO_RECOVERY, "NOTIMP"),
    "ARES_EREFUSED": (semconv.ERROR_NO_RECOVERY, "REFUSED"),
    "ARES_ETIMEOUT": (semconv.ERROR_TIMEOUT, None),
}


class AiodnsInstrumentor(LookupInstrumentor):
    """Makes a span and a measurement of every lookup that c-ares makes for Python.

    It is seen where aiodns, or the application itself, hands it to pycares, and ends when c-ares
    calls back, in whatever thread. The queries themselves stay in c-ares.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of pycares that this is tested with."""
        return ("pycares >= 5",)

    def _patch(self, recorder: Recorder) -> Iterable[Replacement]:
        self._patch_later("pycares", lambda: patches(import_module("pycares"), recorder))
        return ()


def patches(pycares: Any, recorder: Recorder) -> Iterable[Replacement]:
    """Replace the methods of pycares' channel.

    Args:
        pycares: The module.
        recorder: Who records the lookups.
    """
    channels = Channels(Stub(libc=_KIND), SourceAddresses())
    types = {
        getattr(pycares, name): name.removeprefix("QUERY_TYPE_")
        for name in dir(pycares)
        if name.startswith("QUERY_TYPE_")
    }
    yield Replacement(pycares.Channel, "__init__", channels.noting)
    for name, read in readings(channels, types).items():
        yield CallbackPatch(pycares, name, read, recorder)


class CallbackPatch(Replacement):
    """A method that calls back, replaced by one that records what it looks up."""

    def __init__(
        self, pycares: Any, name: str, read: Callable[..., Lookup | None], recorder: Recorder
    ) -> None:
        """Replace the method.

        Args:
            pycares: The module.
            name: The method of its channel.
            read: Takes the call's arguments; nothing when the call is no lookup.
            recorder: Who records them.
        """
        names = pycares.errno.errorcode

        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(channel: Any, *args: Any, **kwargs: Any) -> Any:
                if not (self.live and (recorder.awake or recorder.wake())):
                    return original(channel, *args, **kwargs)
                ongoing = None
                callback = kwargs.get("callback")
                try:
                    lookup = read(channel, *args, **kwargs) if callable(callback) else None
                except Exception:  # noqa: BLE001 - wrong arguments: the original raises
                    lookup = None
                if lookup is not None:
                    ongoing = recorder.begin(lookup)
                if ongoing is None or callback is None:
                    return original(channel, *args, **kwargs)
                # It goes on in c-ares, while this thread or task looks up others.
                ongoing.step_out()

                def called_back(result: Any, error: int | None) -> Any:
                    if not ongoing.over:
                        if error is None:
                            ongoing.end(_answered, result, failed=False)
                        else:
                            text = pycares.errno.strerror(error)
                            outcome = _failed(names.get(error, f"ARES_{error}"))
                            ongoing.end(lambda _: outcome, text, failed=True)
                    return callback(result, error)

                try:
                    return original(channel, *args, **{**kwargs, "callback": called_back})
                except BaseException as error:
                    if not ongoing.over:
                        code = error.args[0] if error.args else None
                        outcome = _failed(names.get(code, type(error).__qualname__))
                        ongoing.end(lambda _: outcome, error, failed=True)
                    raise

            return wrapper

        super().__init__(pycares.Channel, name, wrap)


class Channels:
    """How channels are set up, as far as it can be known: c-ares tells its servers only."""

    def __init__(self, stub: Configured, addresses: SourceAddresses) -> None:
        """Know of no channel.

        Args:
            stub: What c-ares reads where it is not told otherwise.
            addresses: Where the source address towards a nameserver is known.
        """
        self._stub = stub
        self._addresses = addresses
        self._given: WeakKeyDictionary[Any, tuple[tuple[str, ...] | None, int | None]] = (
            WeakKeyDictionary()
        )

    def noting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a constructor that notes the search list and ndots that a channel is given."""

        def wrapper(channel: Any, *args: Any, **kwargs: Any) -> None:
            original(channel, *args, **kwargs)
            domains, ndots = kwargs.get("domains"), kwargs.get("ndots")
            if domains or ndots is not None:
                texts = tuple(text_of(one) or "" for one in domains) if domains else None
                self._given[channel] = (texts, ndots)

        return wrapper

    def resolver(self, channel: Any, *, searches: bool) -> Resolver:
        """Describe a channel as it is set up now.

        Args:
            channel: Any of pycares'.
            searches: Whether the lookup uses the search list.
        """
        domains, ndots = self._given.get(channel, (None, None))
        default = self._stub.current()
        search = default.search if domains is None else domains
        return self._described(
            tuple(map(_address, channel.servers)),
            search if searches else (),
            default.ndots if ndots is None else ndots,
        )

    def _described(
        self, nameservers: tuple[str, ...], search: tuple[str, ...], ndots: int
    ) -> Resolver:
        client = self._addresses.towards(nameservers[0]) if nameservers else None
        return _resolver(nameservers, search, ndots, client)


@lru_cache(maxsize=64)
def _resolver(
    nameservers: tuple[str, ...], search: tuple[str, ...], ndots: int, client: str | None
) -> Resolver:
    return Resolver(_KIND, nameservers, search, ndots, client)


def readings(channels: Channels, types: dict[int, str]) -> dict[str, Callable[..., Lookup | None]]:
    """Return how to read calls of a channel's methods, by name.

    Args:
        channels: Where channels are described.
        types: Question types by number.
    """

    def asks(api: str, *, searches: bool) -> Callable[..., Lookup | None]:
        def read(channel: Any, name: Any, query_type: int, **_: Any) -> Lookup | None:
            text = text_of(name)
            if not text:
                return None
            resolver = channels.resolver(channel, searches=searches)
            asked = types.get(query_type, f"TYPE{query_type}")
            return Lookup(text, api, resolver, question_type=asked)

        return read

    def getaddrinfo(
        channel: Any, host: Any, _: Any, *, family: int = 0, **__: Any
    ) -> Lookup | None:
        text = text_of(host)
        if not text or is_numeric(host):
            return None
        resolver = channels.resolver(channel, searches=True)
        return Lookup(text, "pycares.Channel.getaddrinfo", resolver, _FAMILIES.get(family, "any"))

    def gethostbyaddr(channel: Any, addr: str, **_: Any) -> Lookup | None:
        resolver = channels.resolver(channel, searches=False)
        return Lookup(addr, "pycares.Channel.gethostbyaddr", resolver, question_type=_REVERSE)

    def getnameinfo(channel: Any, address: tuple[Any, ...], *_: Any, **__: Any) -> Lookup | None:
        resolver = channels.resolver(channel, searches=False)
        return Lookup(address[0], "pycares.Channel.getnameinfo", resolver, question_type=_REVERSE)

    return {
        "query": asks("pycares.Channel.query", searches=False),
        "search": asks("pycares.Channel.search", searches=True),
        "getaddrinfo": getaddrinfo,
        "gethostbyaddr": gethostbyaddr,
        "getnameinfo": getnameinfo,
    }


def _address(server: str) -> str:
    """Return the address of what c-ares calls a server: ``192.0.2.1:53``, ``[2001:db8::1]:53``."""
    host, _, port = server.rpartition(":")
    return (host if port.isdecimal() and host else server).strip("[]")


def _failed(name: str) -> Outcome:
    error_type, response_code = _ERRORS.get(name, (name, None))
    return Outcome((), error_type, response_code)


def _answered(result: Any) -> Outcome:
    if hasattr(result, "answer"):
        answers: Iterable[str] = (_text(record.data) for record in result.answer[:_MAX_ANSWERS])
    elif hasattr(result, "nodes"):
        answers = dict.fromkeys(_decoded(node.addr[0]) for node in result.nodes)
    elif hasattr(result, "node"):
        answers = (result.node,) if result.node and not is_numeric(result.node) else ()
    else:
        answers = (result.name, *result.aliases)
    return Outcome(tuple(answers))


def _text(data: Any) -> str:
    if not is_dataclass(data):
        return str(data)
    return " ".join(_decoded(getattr(data, field.name)) for field in fields(data))


def _decoded(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
