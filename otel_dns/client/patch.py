"""Put a recording wrapper in place of a function, and take it away again."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from otel_dns.client.details import Lookup, Outcome
from otel_dns.client.recorder import Ongoing, Recorder


class Reading(NamedTuple):
    """How to read one function's calls: all that differs from library to library."""

    lookup: Callable[..., Lookup | None]
    """Takes the call's arguments; nothing when the call is no lookup, found out fast."""
    answered: Callable[[Any], Outcome]
    """Takes what the call returned."""
    failed: Callable[[Any], Outcome]
    """Takes what the call raised."""


class Replacement:
    """One attribute of a module or class, replaced by a wrapper until `undo`."""

    live = True
    """Whether the wrapper is to do anything; the application may have kept it after `undo`."""

    def __init__(
        self, owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        """Replace the attribute.

        Args:
            owner: The module or class.
            name: The function's name in it.
            wrap: Makes the wrapper of the original, and of nothing that needs `live` yet.
        """
        self._owner = owner
        self._name = name
        self._inherited = isinstance(owner, type) and name not in vars(owner)
        self._original = getattr(owner, name)
        self._wrapper = functools.wraps(self._original)(wrap(self._original))
        if isinstance(owner, ModuleType):
            # Of a C function this would be the private module below it, in which pickle would find
            # the original and refuse the wrapper.
            self._wrapper.__module__ = owner.__name__
        setattr(owner, name, self._wrapper)

    def undo(self) -> None:
        """Restore the original; where somebody wrapped on top, become a pass-through instead."""
        # Always: the application may have kept the wrapper under a name of its own.
        self.live = False
        if getattr(self._owner, self._name) is self._wrapper:
            if self._inherited:
                delattr(self._owner, self._name)
            else:
                setattr(self._owner, self._name, self._original)


Front = Callable[[Callable[..., Any], Callable[..., Any]], Callable[..., Any]]


class Patch(Replacement):
    """A function, replaced by a wrapper that records its lookups."""

    def __init__(
        self,
        owner: Any,
        name: str,
        reading: Reading,
        recorder: Recorder,
        front: Front | None = None,
    ) -> None:
        """Replace the attribute.

        Args:
            owner: The module or class.
            name: The function's name in it.
            reading: How to read its calls.
            recorder: Who records them.
            front: Makes, of the original and of the wrapper, what is put in place: something that
                lets calls which are no lookup through faster than the wrapper can.
        """
        # Bound here once: the wrapper runs for calls that are no lookup too.
        read_lookup, answered, failed = reading
        begin = recorder.begin

        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if not (self.live and (recorder.awake or recorder.wake())):
                    return original(*args, **kwargs)
                lookup = ongoing = misread = None
                try:
                    lookup = read_lookup(*args, **kwargs)
                    if lookup is not None:
                        ongoing = begin(lookup)
                except Exception as error:  # noqa: BLE001 - the application must not see it
                    misread = error
                try:
                    result = original(*args, **kwargs)
                except BaseException as error:
                    if ongoing is not None:
                        ongoing.end(failed, error, failed=True)
                    # A traceback keeps its frames' variables: ours are not to be among them.
                    # What was misread are wrong arguments then: nothing of ours failed.
                    del args, kwargs, lookup, ongoing, misread
                    raise
                if ongoing is not None:
                    ongoing.end(answered, result, failed=False)
                elif misread is not None:
                    recorder.failed(misread)
                return result

            return wrapper if front is None else front(original, wrapper)

        super().__init__(owner, name, wrap)


class AsyncPatch(Replacement):
    """A coroutine function, replaced by one that records its lookups."""

    def __init__(self, owner: Any, name: str, reading: Reading, recorder: Recorder) -> None:
        """Replace the attribute.

        Args:
            owner: The module or class.
            name: The function's name in it.
            reading: How to read its calls.
            recorder: Who records them.
        """

        def begin(*args: Any, **kwargs: Any) -> "Ongoing | Exception | None":
            try:
                lookup = reading.lookup(*args, **kwargs)
                return None if lookup is None else recorder.begin(lookup)
            except Exception as error:  # noqa: BLE001 - the application must not see it
                return error

        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                ongoing = None
                if self.live and (recorder.awake or recorder.wake()):
                    ongoing = begin(*args, **kwargs)
                if not isinstance(ongoing, Ongoing):
                    result = await original(*args, **kwargs)
                    if ongoing is not None:
                        recorder.failed(ongoing)
                    return result
                try:
                    result = await original(*args, **kwargs)
                except BaseException as error:
                    ongoing.end(reading.failed, error, failed=True)
                    raise
                ongoing.end(reading.answered, result, failed=False)
                return result

            return wrapper

        super().__init__(owner, name, wrap)
