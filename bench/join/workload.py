"""``python workload.py``: ask the C library for names, from several addresses at once.

Runs in a Pod of the lab. Reads one JSON object: ``holders``, process ids whose networks the workers
enter (each worker's packets then have an address of its own: the truth); ``names`` and ``pauses``
of each worker; ``burst``. Prints one line ``[worker, name, start_ns, end_ns, error]`` a lookup. It
needs Python's standard library only.
"""

import ctypes
import json
import os
import socket
import sys
import threading
import time

CLONE_NEWNET = 0x40000000


def enter_network(holder: int) -> None:
    """Move this thread, and no other, into a process's network namespace."""
    network = os.open(f"/proc/{holder}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns into the network of {holder}")
    os.close(network)


def look_up(name: str) -> tuple[int, int, str]:
    """Return start, end and error of one lookup."""
    error = ""
    start_ns = time.time_ns()
    try:
        socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except socket.gaierror as raised:
        error = str(raised.errno)
    return start_ns, time.time_ns(), error


def main() -> None:
    """Run all workers to their end, then print."""
    task = json.load(sys.stdin)
    workers = len(task["holders"])
    ready = threading.Barrier(workers)
    done: list[list[tuple[object, ...]]] = [[] for _ in range(workers)]

    def work(number: int) -> None:
        enter_network(task["holders"][number])
        look_up("warm-up.invalid.")  # the first makes the thread's resolver state
        ready.wait()
        for name, pause in zip(task["names"][number], task["pauses"][number], strict=True):
            if pause:
                time.sleep(pause)
            if task["burst"]:
                ready.wait()
            done[number].append((number, name, *look_up(name)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lookups in done:
        for lookup in lookups:
            print(json.dumps(lookup))


if __name__ == "__main__":
    main()
