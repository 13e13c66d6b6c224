"""One build of one thing at a time, over all processes of the user."""

import contextlib
import fcntl
import time
from collections.abc import Iterator

from otel_dns.lab.programs.finding import cache_folder
from otel_dns.lab.programs.progress import Progress

_POLL_SECONDS = 0.5


@contextlib.contextmanager
def locked(key: str, progress: Progress) -> Iterator[None]:
    """Holds the lock of ``key``; says so when it has to wait.

    The kernel lets go of the lock when its holder ends, however that ends.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{key}.lock").open("w") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    progress.say(f"another process is getting {key}: waiting for it")
                    waiting = True
                progress.update(f"waiting for the other build of {key}")
                time.sleep(_POLL_SECONDS)
        yield
