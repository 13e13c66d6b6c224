"""Put a recording wrapper in place of a function, and take it away again."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from otel_dns.client.details import Lookup, Outcome
from otel_dns.client.recorder import Recorder


class Reading(NamedTuple):
    """How to read one function's calls: all that differs from library to library."""

    lookup: Callable[..., Lookup | None]
    """Takes the call's arguments; nothing when the call is no lookup, found out fast."""
    answered: Callable[[Any], Outcome]
    """Takes what the call returned."""
    failed: Callable[[Any], Outcome]
    """Takes what the call raised."""


class Patch:
    """One attribute of a module or class, replaced by a wrapper until `undo`."""

    def __init__(self, owner: Any, name: str, reading: Reading, recorder: Recorder) -> None:
        """Replace the attribute.

        Args:
            owner: The module or class.
            name: The function's name in it.
            reading: How to read its calls.
            recorder: Who records them.
        """
        self._owner = owner
        self._name = name
        self._original = getattr(owner, name)
        self._live = True
        self._wrapper = self._wrap(self._original, reading, recorder)
        if isinstance(owner, ModuleType):
            # Of a C function this would be the private module below it, in which pickle would find
            # the original and refuse the wrapper.
            self._wrapper.__module__ = owner.__name__
        setattr(owner, name, self._wrapper)

    def undo(self) -> None:
        """Restore the original; where somebody wrapped on top, become a pass-through instead."""
        # Always: the application may have kept the wrapper under a name of its own.
        self._live = False
        if getattr(self._owner, self._name) is self._wrapper:
            setattr(self._owner, self._name, self._original)

    def _wrap(
        self, original: Callable[..., Any], reading: Reading, recorder: Recorder
    ) -> Callable[..., Any]:
        # Bound here once: the wrapper runs for calls that are no lookup too.
        read_lookup, answered, failed = reading
        begin = recorder.begin

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not self._live:
                return original(*args, **kwargs)
            ongoing = misread = None
            try:
                lookup = read_lookup(*args, **kwargs)
                if lookup is not None:
                    ongoing = begin(lookup)
            except Exception as error:  # noqa: BLE001 - the application must not see it
                misread = error
            if misread is not None:
                # Wrong arguments, usually: then the original raises, and nothing of ours failed.
                result = original(*args, **kwargs)
                recorder.failed(misread)
                return result
            if ongoing is None:
                return original(*args, **kwargs)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                ongoing.end(failed, error, failed=True)
                raise
            ongoing.end(answered, result, failed=False)
            return result

        return wrapper
