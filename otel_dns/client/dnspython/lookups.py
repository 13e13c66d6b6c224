"""Lookups by dnspython's resolvers, sync and async."""

import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import dns.exception
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename

from otel_dns import semconv
from otel_dns.client.details import Lookup, Outcome, Resolver
from otel_dns.client.errors import class_name
from otel_dns.client.patch import AsyncPatch, Patch, Reading, Replacement
from otel_dns.client.recorder import Recorder, current
from otel_dns.client.stub import SourceAddresses

_KIND = "dnspython"
_MAX_ANSWERS: Final = 32
_FAMILIES: Final = {
    int(socket.AF_UNSPEC): "any",
    int(socket.AF_INET): "inet",
    int(socket.AF_INET6): "inet6",
}
_DESIGNATED: Final = "_dns.resolver.arpa."
"""Where a network names its encrypted resolvers (RFC 9462)."""


def of_resolver(recorder: Recorder, addresses: SourceAddresses) -> Iterable[Replacement]:
    """Replace the functions of ``dns.resolver``.

    Its other functions call these. `Resolver.query` is left alone: it warns its caller that it is
    deprecated, and must go on to find the right one.

    Args:
        recorder: Who records the lookups.
        addresses: Where the source address towards a nameserver is known.
    """
    return _patches(dns.resolver, Patch, recorder, addresses)


def of_asyncresolver(recorder: Recorder, addresses: SourceAddresses) -> Iterable[Replacement]:
    """Replace the functions of ``dns.asyncresolver``.

    Args:
        recorder: Who records the lookups.
        addresses: Where the source address towards a nameserver is known.
    """
    import dns.asyncresolver  # noqa: PLC0415 - only if the application has done so

    return _patches(dns.asyncresolver, AsyncPatch, recorder, addresses)


def _patches(
    module: Any,
    patch: type[Patch] | type[AsyncPatch],
    recorder: Recorder,
    addresses: SourceAddresses,
) -> Iterable[Replacement]:
    reading = Readings(module, addresses)
    for name, read in reading.of_methods().items():
        if hasattr(module.Resolver, name):
            yield patch(module.Resolver, name, read, recorder)
    for name, read in reading.of_functions().items():
        if hasattr(module, name):
            yield patch(module, name, read, recorder)


class Readings:
    """How to read calls of one module's functions."""

    def __init__(self, module: Any, addresses: SourceAddresses) -> None:
        """Know where to look.

        Args:
            module: ``dns.resolver`` or ``dns.asyncresolver``: their functions are alike.
            addresses: Where the source address towards a nameserver is known.
        """
        self._module = module
        self._addresses = addresses

    def of_methods(self) -> dict[str, Reading]:
        """Return the readings of the resolver class's methods, by name."""
        api = f"{self._module.__name__}.Resolver."

        def resolve(  # noqa: PLR0917 - the signature read
            resolver: dns.resolver.BaseResolver,
            qname: dns.name.Name | str,
            rdtype: dns.rdatatype.RdataType | str = dns.rdatatype.A,
            rdclass: object = None,  # noqa: ARG001
            tcp: object = None,  # noqa: ARG001
            source: str | None = None,
            raise_on_no_answer: object = None,  # noqa: ARG001
            source_port: object = None,  # noqa: ARG001
            lifetime: object = None,  # noqa: ARG001
            search: bool | None = None,
            backend: object = None,  # noqa: ARG001
        ) -> Lookup:
            described = self.describe(resolver, source, search)
            return Lookup(str(qname), api + "resolve", described, question_type=_type(rdtype))

        def resolve_name(
            resolver: dns.resolver.BaseResolver,
            name: dns.name.Name | str,
            family: int = socket.AF_UNSPEC,
            source: str | None = None,
            search: bool | None = None,
            **_: Any,
        ) -> Lookup:
            described = self.describe(resolver, source, search)
            return Lookup(str(name), api + "resolve_name", described, _FAMILIES.get(family))

        def resolve_address(
            resolver: dns.resolver.BaseResolver,
            ipaddr: str,
            *_: Any,
            source: str | None = None,
            **__: Any,
        ) -> Lookup:
            # The name that is asked for, which is what dnspython's other functions are given.
            name = dns.reversename.from_address(ipaddr).to_text()
            described = self.describe(resolver, source)
            return Lookup(name, api + "resolve_address", described, question_type="PTR")

        def canonical_name(
            resolver: dns.resolver.BaseResolver, name: dns.name.Name | str
        ) -> Lookup:
            described = self.describe(resolver)
            return Lookup(str(name), api + "canonical_name", described, question_type="A")

        def try_ddr(resolver: dns.resolver.BaseResolver, lifetime: object = None) -> Lookup:  # noqa: ARG001
            described = self.describe(resolver)
            return Lookup(_DESIGNATED, api + "try_ddr", described, question_type="SVCB")

        return {
            "resolve": Reading(resolve, _answered, _failed),
            "resolve_name": Reading(resolve_name, _addressed, _failed),
            "resolve_address": Reading(resolve_address, _answered, _failed),
            "canonical_name": Reading(canonical_name, _named, _failed),
            "try_ddr": Reading(try_ddr, _nothing, _failed),
        }

    def of_functions(self) -> dict[str, Reading]:
        """Return the readings of the module's functions that make several lookups, by name."""
        module = self._module

        def zone_for_name(
            name: dns.name.Name | str,
            rdclass: object = None,  # noqa: ARG001
            tcp: object = None,  # noqa: ARG001
            resolver: dns.resolver.BaseResolver | None = None,
            *_: Any,
            **__: Any,
        ) -> Lookup:
            described = self.describe(resolver or module.get_default_resolver())
            api = f"{module.__name__}.zone_for_name"
            return Lookup(str(name), api, described, question_type="SOA")

        def resolve_at(
            where: dns.name.Name | str,
            qname: dns.name.Name | str,
            rdtype: dns.rdatatype.RdataType | str = dns.rdatatype.A,
            *_: Any,
            **__: Any,
        ) -> Lookup:
            described = self._described((str(where),), (), 1, self._addresses.towards(str(where)))
            api = f"{module.__name__}.resolve_at"
            return Lookup(str(qname), api, described, question_type=_type(rdtype))

        return {
            "zone_for_name": Reading(zone_for_name, _named, _failed),
            "resolve_at": Reading(resolve_at, _answered, _failed),
        }

    def describe(
        self,
        resolver: dns.resolver.BaseResolver,
        source: str | None = None,
        search: bool | None = None,
    ) -> Resolver:
        """Describe a resolver as it is set up now.

        Args:
            resolver: Any of dnspython's.
            source: The source address that the application asks for, if any.
            search: Whether it wants the search list; if not said, the resolver decides.
        """
        nameservers = tuple(map(_address, resolver.nameservers))
        client = source or (self._addresses.towards(nameservers[0]) if nameservers else None)
        ndots = 1 if resolver.ndots is None else resolver.ndots
        # Of servers of somebody else's making the queries are not seen, so nothing is said.
        caches = bool(resolver.cache) and all(map(_is_known, resolver.nameservers))
        return self._described(nameservers, _search(resolver, search), ndots, client, caches=caches)

    @staticmethod
    @lru_cache(maxsize=64)
    def _described(
        nameservers: tuple[str, ...],
        search: tuple[str, ...],
        ndots: int,
        client: str | None,
        *,
        caches: bool = False,
    ) -> Resolver:
        return Resolver(_KIND, nameservers, search, ndots, client, caches)


def _search(resolver: dns.resolver.BaseResolver, search: bool | None) -> tuple[str, ...]:
    """Return the search list in force, by the same rules as `Resolver._get_qnames_to_try`."""
    if not (resolver.use_search_by_default if search is None else search):
        return ()
    if resolver.search:
        return tuple(domain.to_text(omit_final_dot=True) for domain in resolver.search)
    domain = resolver.domain
    if domain is None or domain == dns.name.root:
        return ()
    return (domain.to_text(omit_final_dot=True),)


def _address(nameserver: object) -> str:
    """Return a nameserver's address; the URL of one that is only known by its URL."""
    if isinstance(nameserver, str):
        return nameserver
    for attribute in ("address", "url"):
        value = getattr(nameserver, attribute, None)
        if isinstance(value, str):
            return value
    return str(nameserver)


def _type(rdtype: dns.rdatatype.RdataType | str | int) -> str:
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))


def _is_known(nameserver: object) -> bool:
    return isinstance(nameserver, str) or type(nameserver).__module__ == dns.nameserver.__name__


def _answered(answer: dns.resolver.Answer) -> Outcome:
    return Outcome(_texts(answer), response_code=_code(answer), cached=_cached())


def _addressed(answers: Any) -> Outcome:
    texts = tuple(text for answer in answers.values() for text in _texts(answer))
    code = next(map(_code, answers.values()), None)
    return Outcome(texts[:_MAX_ANSWERS], response_code=code, cached=_cached())


def _named(name: dns.name.Name) -> Outcome:
    return Outcome((name.to_text(),), cached=_cached())


def _nothing(_: None) -> Outcome:
    return Outcome()


def _texts(answer: dns.resolver.Answer) -> tuple[str, ...]:
    return tuple(record.to_text() for record in list(answer.rrset or ())[:_MAX_ANSWERS])


def _code(answer: dns.resolver.Answer) -> str:
    return dns.rcode.to_text(answer.response.rcode())


def _cached() -> bool | None:
    """Tell whether the lookup that ends here asked nobody, where its resolver has a cache."""
    lookup = current()
    if lookup is None or not lookup.lookup.resolver.caches:
        return None
    return not lookup.questions


def _failed(error: BaseException) -> Outcome:
    if isinstance(error, dns.resolver.NXDOMAIN):
        return Outcome((), semconv.ERROR_HOST_NOT_FOUND, "NXDOMAIN", _cached())
    if isinstance(error, dns.resolver.NoAnswer):
        return Outcome((), semconv.ERROR_NO_DATA, "NOERROR", _cached())
    if isinstance(error, dns.resolver.YXDOMAIN):
        return Outcome((), semconv.ERROR_NO_RECOVERY, "YXDOMAIN")
    if isinstance(error, dns.resolver.NoNameservers):
        return _all_servers_failed(error)
    if isinstance(error, dns.exception.Timeout):
        return Outcome((), semconv.ERROR_TIMEOUT)
    return Outcome((), class_name(error))


def _all_servers_failed(error: dns.resolver.NoNameservers) -> Outcome:
    """Name the failure as the C library would: SERVFAIL may pass, a refusal will not."""
    tries = error.kwargs.get("errors") or []
    last = tries[-1][4] if tries else None
    if last is None:
        return Outcome((), semconv.ERROR_NO_RECOVERY)
    code = dns.rcode.to_text(last.rcode())
    if code == "SERVFAIL":
        return Outcome((), semconv.ERROR_TRY_AGAIN, code)
    return Outcome((), semconv.ERROR_NO_RECOVERY, code)
