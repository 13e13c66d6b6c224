"""What all instrumentors of lookups have in common."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

# The module switches its own type checking off as a whole.
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from otel_dns.client.late import when_imported
from otel_dns.client.patch import Replacement
from otel_dns.client.recorder import Recorder


class LookupInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Switches the recording of one library's lookups on and off.

    `instrument` takes ``tracer_provider``, ``meter_provider`` and the options of `Settings.read`;
    or a ``recorder``.
    """

    _patches: tuple[Replacement, ...] = ()
    _later: tuple[Replacement, ...] = ()
    _awaited: tuple[Callable[[], Iterable[Replacement]], ...] = ()
    """What patches modules that are imported later: not in the import hooks, which are for ever."""
    _turn: object = None
    """Another one each time it is switched on; nothing while it is off."""

    @abstractmethod
    def _patch(self, recorder: Recorder) -> Iterable[Replacement]:
        """Replace the library's functions."""

    def _patch_later(self, module: str, patch: Callable[[], Iterable[Replacement]]) -> None:
        """Patch a module's functions as soon as the application imports it, if that is wanted then.

        Args:
            module: Its name.
            patch: Replaces the functions.
        """
        turn = self._turn
        number = len(self._awaited)
        self._awaited += (patch,)

        def imported() -> None:
            if turn is self._turn:
                self._later += tuple(self._awaited[number]())

        when_imported(module, imported)

    def _instrument(self, **kwargs: Any) -> None:
        recorder = kwargs.get("recorder") or Recorder(**kwargs)
        self._turn = object()
        self._patches = tuple(self._patch(recorder))

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - the base class's signature
        # Last in, first out, as wrappers of one function must go.
        for patch in reversed(self._patches + self._later):
            patch.undo()
        self._patches = self._later = ()
        self._awaited = ()
        self._turn = None
