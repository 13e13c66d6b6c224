"""Instrument a library when the application imports it, so that nobody pays for one unused.

Importing dnspython alone takes longer than everything else that is instrumented.
"""

import logging
import sys
from collections.abc import Callable

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
