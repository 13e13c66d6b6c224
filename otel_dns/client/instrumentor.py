"""What all instrumentors of lookups have in common."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

# The module switches its own type checking off as a whole.
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from otel_dns.client.patch import Replacement
from otel_dns.client.recorder import Recorder


class LookupInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Switches the recording of one library's lookups on and off.

    `instrument` takes ``tracer_provider``, ``meter_provider`` and the options of `Settings.read`;
    or a ``recorder``.
    """

    _patches: tuple[Replacement, ...] = ()

    @abstractmethod
    def _patch(self, recorder: Recorder) -> Iterable[Replacement]:
        """Replace the library's functions."""

    def _instrument(self, **kwargs: Any) -> None:
        recorder = kwargs.get("recorder") or Recorder(**kwargs)
        self._patches = tuple(self._patch(recorder))

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - the base class's signature
        # Last in, first out, as wrappers of one function must go.
        for patch in reversed(self._patches):
            patch.undo()
        self._patches = ()
