"""Names of which somebody wants to know when they are looked up, and by whom."""

from collections.abc import Iterable

from otel_dns.model import Lookup
from otel_dns.names import normalise


class WatchList:
    """Tells which entry of a list a lookup is of. It matches what ``otel-dns watch`` does."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Prepare the list.

        Args:
            entries: names, as applications ask for them or as candidates; ``*.`` in front takes in
                all names below.
        """
        by_name = {normalise(entry.removeprefix("*")): entry for entry in entries}
        self._names = {name: entry for name, entry in by_name.items() if name[:1] != "."}
        self._below = {name: entry for name, entry in by_name.items() if name[:1] == "."}

    def entry_of(self, lookup: Lookup) -> str | None:
        """Return the entry that a lookup's name, or one of its candidates, matches."""
        asked = normalise(lookup.name)
        for name in (asked, *lookup.candidates):
            entry = self._names.get(name)
            if entry is not None:
                return entry
        return next((entry for end, entry in self._below.items() if asked.endswith(end)), None)
