"""Queries that are here before their lookup: a client ends and sends them first."""

from collections import OrderedDict, defaultdict
from typing import Final

from otel_dns.model import ClientQuery

MAX_QUERIES: Final = 64
"""Queries of one lookup that are kept: it tries each candidate at each nameserver a few times."""

_Identity = tuple[bytes, bytes]
_Counts = defaultdict[str, int]


class EarlyQueries:
    """Queries by the lookup that they wait for, bounded by age and number.

    What leaves without its lookup is counted: the queries' spans themselves went on before.
    """

    def __init__(self, wait_ns: int, max_queries: int) -> None:
        """Make an empty one.

        Args:
            wait_ns: how long a query waits.
            max_queries: how many may wait, of all lookups together.
        """
        self._wait_ns = wait_ns
        self._max = max_queries
        self._held = 0
        self._of: OrderedDict[_Identity, tuple[int, dict[bytes, ClientQuery]]] = OrderedDict()

    def __len__(self) -> int:
        return self._held

    def add(self, lookup: _Identity, query: ClientQuery, now_ns: int, counts: _Counts) -> None:
        """Keep a query for its lookup, or count why not."""
        _, queries = self._of.setdefault(lookup, (now_ns + self._wait_ns, {}))
        if query.span_id in queries:
            counts["queries_duplicate"] += 1
            return
        if len(queries) >= MAX_QUERIES:
            counts["queries_surplus"] += 1
            return
        queries[query.span_id] = query
        self._held += 1
        while self._held > self._max:
            counts["queries_evicted"] += self._drop_oldest()

    def take(self, lookup: _Identity) -> list[ClientQuery]:
        """Hand over what waited for a lookup."""
        _, queries = self._of.pop(lookup, (0, {}))
        self._held -= len(queries)
        return list(queries.values())

    def expire(self, now_ns: int, counts: _Counts) -> None:
        """Let go of what has waited long enough."""
        while self._of and next(iter(self._of.values()))[0] <= now_ns:
            counts["queries_unmatched"] += self._drop_oldest()

    def drain(self, counts: _Counts) -> None:
        """End: nobody comes for what is left."""
        while self._of:
            counts["queries_unmatched"] += self._drop_oldest()

    def _drop_oldest(self) -> int:
        _, (_, queries) = self._of.popitem(last=False)
        self._held -= len(queries)
        return len(queries)
