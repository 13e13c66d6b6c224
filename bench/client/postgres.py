"""A PostgreSQL server of our own, on a Unix socket in a temporary directory."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps the server's programs out of PATH, a directory for each version."""


def programs() -> Path | None:
    """Return where ``initdb`` and ``postgres`` are, if anywhere."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(_DEBIAN.glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists()), None)


@contextmanager
def server() -> Iterator[str]:
    """Run a server.

    Yields:
        The directory of its socket: the ``host`` to connect to, as user ``bench``.
    """
    place = programs()
    if place is None:
        raise RuntimeError("no PostgreSQL server here: install postgresql")
    # It refuses to run as root.
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        if user is not None:
            os.chown(directory, user, -1)
        data = f"{directory}/data"
        subprocess.run(
            [place / "initdb", "--pgdata", data, "--username", "bench", "--auth", "trust"],
            check=True,
            user=user,
            stdout=subprocess.DEVNULL,
        )
        control = [place / "pg_ctl", "--pgdata", data, "--silent", "-w"]
        options = f"-k {directory} -c listen_addresses='' -c fsync=off"
        log = f"{directory}/log"
        subprocess.run([*control, "-l", log, "-o", options, "start"], check=True, user=user)
        try:
            yield directory
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, user=user)
