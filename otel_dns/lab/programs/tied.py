"""``python tied.py COMMAND...``: a command that dies with the one who started it.

Standard input is a pipe whose other end only the starter holds: when the starter ends, in whatever
way, the kernel closes it, and the whole process group is killed. Started as a file, and by itself:
it imports nothing of this package, and the command's environment stays as it is.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Run the command; its exit code, 128 + number for a signal."""
    # SIGTERM to the group is for the command; what is left of the group is killed afterwards.
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_kill_all_when_alone, daemon=True).start()
    try:
        code = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]} could not be started: {error}\n")
        return 127
    return code if code >= 0 else 128 - code


def _kill_all_when_alone() -> None:
    # Nothing is ever written there: reading ends when the other end is closed.
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
