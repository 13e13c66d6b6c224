"""``python -m tests.support.cri FILE COMMAND...``: keep a program's output as containerd does.

Each line gets the time at which it was read, in front; what is read is passed on as well.
"""

import datetime
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    file, *command = sys.argv[1:]
    with (
        Path(file).open("w", buffering=1) as written,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as program,
    ):
        assert program.stdout is not None
        for line in program.stdout:
            now = time.time_ns()
            when = datetime.datetime.fromtimestamp(now // 1_000_000_000, datetime.UTC)
            written.write(f"{when:%Y-%m-%dT%H:%M:%S}.{now % 1_000_000_000:09}Z stdout F {line}")
            sys.stdout.write(line)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
