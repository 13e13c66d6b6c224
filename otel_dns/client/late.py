"""Instrument a library when the application imports it, so that nobody pays for one unused.

Importing dnspython alone takes longer than everything else that is instrumented.
"""

import logging
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any

# The module switches its own type checking off as a whole.
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)
from wrapt import register_post_import_hook

_logger = logging.getLogger(__name__)


def when_imported(module: str, action: Callable[[], None]) -> None:
    """Do something as soon as a module is there: now, or when the application imports it.

    Args:
        module: Its full name.
        action: What to do. What it raises is logged; it does not fail the application's import.
    """

    def hook(loaded: object) -> None:
        try:
            # What the import does next; without it, `import a.b` in the action finds no `a.b`.
            parent, _, child = module.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, loaded)
            action()
        except Exception as error:  # the application must not see it
            _logger.warning("DNS lookups of %s are not recorded.", module, exc_info=error)

    register_post_import_hook(hook, module)


class LateInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Stands for the instrumentor of a library until that library is imported."""

    module: str
    """What the application imports first of the library."""
    instrumentor: tuple[str, str]
    """The instrumentor's module and class."""
    requirements: tuple[str, ...] = ()
    """The versions of the library that it is tested with."""
    _wanted: dict[str, Any] | None = None
    _waiting = False
    _loaded = False

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the library's requirement."""
        return self.requirements

    def _instrument(self, **kwargs: Any) -> None:
        self._wanted = kwargs
        if not self._waiting:
            # Once: a hook cannot be taken back, and one is enough.
            self._waiting = True
            when_imported(self.module, self._imported)
        elif self._loaded:
            self._imported()

    def _imported(self) -> None:
        self._loaded = True
        if self._wanted is not None:
            self._real().instrument(skip_dep_check=True, **self._wanted)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - the base class's signature
        self._wanted = None
        if self._loaded and self._real().is_instrumented_by_opentelemetry:
            self._real().uninstrument()

    def _real(self) -> Any:
        module, name = self.instrumentor
        return getattr(import_module(module), name)()


class LateDnspythonInstrumentor(LateInstrumentor):
    """Makes spans and measurements of dnspython's lookups, once the application imports it."""

    module = "dns.resolver"
    instrumentor = ("otel_dns.client.dnspython", "DnspythonInstrumentor")
    requirements = ("dnspython >= 2.6",)
