"""Lookups through dnspython's `Resolver.resolve`."""

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final

import dns.exception
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver

from otel_dns import semconv
from otel_dns.client.details import Lookup, Outcome, Resolver
from otel_dns.client.errors import class_name
from otel_dns.client.instrumentor import LookupInstrumentor
from otel_dns.client.patch import Patch, Reading
from otel_dns.client.recorder import Recorder
from otel_dns.client.stub import SourceAddresses

_API = "dns.resolver.Resolver.resolve"
_KIND = "dnspython"
_MAX_ANSWERS: Final = 32


class DnspythonInstrumentor(LookupInstrumentor):
    """Makes a span and a measurement of every `dns.resolver.Resolver.resolve`.

    Functions that call it, such as `dns.resolver.resolve` or `Resolver.resolve_name`, are covered
    through it.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of dnspython that this is tested with."""
        return ("dnspython >= 2.6",)

    def _patch(self, recorder: Recorder) -> Iterable[Patch]:
        sync = reading(SourceAddresses())
        return [Patch(dns.resolver.Resolver, "resolve", sync, recorder)]


def reading(addresses: SourceAddresses) -> Reading:
    """Return how to read calls of `Resolver.resolve`.

    Args:
        addresses: Where the source address towards a nameserver is known.
    """

    def lookup(  # noqa: PLR0917 - the signature read
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
    ) -> Lookup | None:
        nameservers = tuple(map(_address, resolver.nameservers))
        client = source or (addresses.towards(nameservers[0]) if nameservers else None)
        ndots = 1 if resolver.ndots is None else resolver.ndots
        return Lookup(
            str(qname),
            _API,
            _resolver(nameservers, _search(resolver, search), ndots, client),
            question_type=_type(rdtype),
        )

    return Reading(lookup, _answered, _failed)


@lru_cache(maxsize=64)
def _resolver(
    nameservers: tuple[str, ...], search: tuple[str, ...], ndots: int, client: str | None
) -> Resolver:
    return Resolver(_KIND, nameservers, search, ndots, client)


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


def _answered(answer: dns.resolver.Answer) -> Outcome:
    records = tuple(record.to_text() for record in list(answer.rrset or ())[:_MAX_ANSWERS])
    return Outcome(records, response_code=dns.rcode.to_text(answer.response.rcode()))


def _failed(error: BaseException) -> Outcome:
    if isinstance(error, dns.resolver.NXDOMAIN):
        return Outcome((), semconv.ERROR_HOST_NOT_FOUND, "NXDOMAIN")
    if isinstance(error, dns.resolver.NoAnswer):
        return Outcome((), semconv.ERROR_NO_DATA, "NOERROR")
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
