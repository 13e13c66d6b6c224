"""The lookup's tenant on its server spans: backends and load balancers that go by it see one whole.

Where spans are routed or stored by an attribute of the resource (the Collector's ``load_balancing``
looks there first), CoreDNS's spans have none of the application's: without it the two halves of a
trace go different ways.
"""

from collections import OrderedDict
from functools import lru_cache
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_dns.model import Origin

_MAX_REMEMBERED: Final = 100_000
_MAX_CACHED_BYTES: Final = 4096


class Tenants:
    """Writes some attributes of a lookup's resource on the resource of its server spans."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        """Make one.

        Args:
            keys: of the attributes; without any, origins stay as they are.
        """
        self.keys = keys
        self._resources: OrderedDict[bytes, bytes] = OrderedDict()
        """Of lookups that have gone out, by their trace: for what comes late."""
        self._cached = lru_cache(maxsize=1024)(self._marked)
        self._cached_told = lru_cache(maxsize=1024)(self._told)

    def remember(self, trace_id: bytes, resource: bytes) -> None:
        """Remember whose a trace is, for server spans that come late."""
        short = len(resource) <= _MAX_CACHED_BYTES
        told = (self._cached_told if short else self._told)(resource)
        self._resources[trace_id] = told if len(told) <= _MAX_CACHED_BYTES else b""
        if len(self._resources) > _MAX_REMEMBERED:
            self._resources.popitem(last=False)

    def of(self, trace_id: bytes) -> bytes:
        """Return a resource that tells what was remembered for a trace; empty if nothing was."""
        return self._resources.get(trace_id, b"")

    def mark(self, origin: Origin, resource: bytes) -> Origin:
        """Return the origin of a server span with what the lookup's resource says of the keys."""
        if not resource:
            return origin
        short = len(origin.resource) + len(resource) <= _MAX_CACHED_BYTES
        marked = (self._cached if short else self._marked)(origin.resource, resource)
        return origin._replace(resource=marked)

    def _told(self, lookups: bytes) -> bytes:
        """Return what a resource says of the keys, and nothing else, as a resource."""
        return Resource(attributes=self._attributes(lookups)).SerializeToString()

    def _attributes(self, resource: bytes) -> list[KeyValue]:
        return [one for one in Resource.FromString(resource).attributes if one.key in self.keys]

    def _marked(self, servers: bytes, lookups: bytes) -> bytes:
        told = self._attributes(lookups)
        if not told:
            return servers
        marked = Resource.FromString(servers)
        own = [one for one in marked.attributes if one.key not in {each.key for each in told}]
        del marked.attributes[:]
        marked.attributes.extend([*own, *told])
        return marked.SerializeToString()
