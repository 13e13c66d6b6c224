"""What the wrappers tell the recorder: frozen descriptions of a lookup and of its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from opentelemetry.util.types import AttributeValue

from otel_dns import semconv
from otel_dns.client.name_sources import DNS_ONLY, NameSources
from otel_dns.client.names_bound import sendable

Attributes = dict[str, AttributeValue]

_MAX_PREPARED = 256
"""More kinds of lookup than there are; a bound all the same, record types are the application's."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """The resolver that a lookup goes through, as far as its configuration tells.

    Made once for many lookups, so its attributes are made once too.
    """

    kind: str
    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int
    client_address: str | None
    """The source address towards the first nameserver."""
    caches: bool = False
    """Whether it has a cache of its own: a lookup may need no query."""
    options: tuple[str, ...] = ()
    """``semconv.RESOLVER_OPTIONS``."""
    client_addresses: tuple[str, ...] = ()
    """``semconv.RESOLVER_CLIENT_ADDRESSES``."""
    sources: NameSources = DNS_ONLY
    """Who else than DNS could answer."""
    attributes: Mapping[str, AttributeValue] = field(init=False, repr=False, compare=False)
    _prepared: dict[tuple[str, str | None, str | None], dict[str, AttributeValue]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        attributes: dict[str, AttributeValue] = {
            semconv.RESOLVER_KIND: self.kind,
            semconv.RESOLVER_NAMESERVERS: self.nameservers,
            semconv.RESOLVER_SEARCH: self.search,
            semconv.RESOLVER_NDOTS: self.ndots,
        }
        if self.nameservers:
            attributes[semconv.SERVER_ADDRESS] = self.nameservers[0]
        if self.client_address is not None:
            attributes[semconv.CLIENT_ADDRESS] = self.client_address
        if self.options:
            attributes[semconv.RESOLVER_OPTIONS] = self.options
        if len(set(self.client_addresses)) > 1:
            attributes[semconv.RESOLVER_CLIENT_ADDRESSES] = self.client_addresses
        object.__setattr__(self, "attributes", attributes)
        object.__setattr__(self, "_prepared", {})

    def prepared(
        self, api: str, family: str | None, question_type: str | None
    ) -> dict[str, AttributeValue]:
        """Return a new dictionary of all attributes that lookups of one kind share.

        Args:
            api: As in `Lookup`.
            family: As in `Lookup`.
            question_type: As in `Lookup`.
        """
        key = (api, family, question_type)
        attributes = self._prepared.get(key)
        if attributes is None:
            attributes = {semconv.LOOKUP_API: api, **self.attributes}
            if family is not None:
                attributes[semconv.LOOKUP_FAMILY] = family
            if question_type is not None:
                attributes[semconv.DNS_QUESTION_TYPE] = question_type
            if len(self._prepared) < _MAX_PREPARED:
                self._prepared[key] = attributes
        return attributes.copy()


class Lookup(NamedTuple):
    """One call that the application made (a tuple: the cheapest frozen object to make)."""

    name: str
    """As the application asked for it."""
    api: str
    """The function called, by its public name."""
    resolver: Resolver
    family: str | None = None
    """``semconv.LOOKUP_FAMILY``'s value, where the call has an address family."""
    question_type: str | None = None
    """``A``, ``MX``, ...; where one type is asked for."""

    def attributes(self) -> Attributes:
        """Return a new dictionary of what the lookup's span tells from the start."""
        attributes = self.resolver.prepared(self.api, self.family, self.question_type)
        attributes[semconv.DNS_QUESTION_NAME] = sendable(self.name)
        besides = self.resolver.sources.besides_dns(self.name)
        if besides:
            attributes[semconv.LOOKUP_BESIDES_DNS] = besides
        return attributes


class Outcome(NamedTuple):
    """How a lookup ended."""

    answers: tuple[str, ...] = ()
    error_type: str | None = None
    response_code: str | None = None
    """RCODE mnemonic, where the library tells it."""
    cached: bool | None = None
    """Whether the resolver's own cache answered, where it has one."""
