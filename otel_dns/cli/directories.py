"""Where things are, unless told otherwise."""

import os
from pathlib import Path


def default_history() -> Path:
    """Give the directory of the history: ``otel-dns/history`` under XDG_STATE_HOME.

    See the XDG Base Directory Specification; a relative path there is to be ignored.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    if state.startswith("/"):
        return Path(state) / "otel-dns" / "history"
    try:
        home = Path.home()
    except RuntimeError:  # a container's user may have neither $HOME nor a name
        home = Path("/")
    return home / ".local" / "state" / "otel-dns" / "history"
