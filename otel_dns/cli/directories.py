"""Where things are, unless told otherwise."""

import os
from pathlib import Path


def default_history() -> Path:
    """Give the directory of the history: ``otel-dns/history`` under XDG_STATE_HOME.

    See the XDG Base Directory Specification; a relative path there is to be ignored.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    return home / "otel-dns" / "history"
