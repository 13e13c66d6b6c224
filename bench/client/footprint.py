"""What it costs to be there: import time and resident memory, on top of what is there anyway.

``python -m bench.client.footprint WHAT ON``: WHAT is ``client`` or ``sqlite3``; ON is ``python``
(nothing imported yet) or ``sdk`` (an application that has OpenTelemetry's SDK). Prints one line of
JSON: milliseconds and kibibytes.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

PEERS = {
    "client": ("otel_dns.client", lambda module: module.instrument()),
    "sqlite3": (
        "opentelemetry.instrumentation.sqlite3",
        lambda module: module.SQLite3Instrumentor().instrument(),
    ),
}


def resident() -> int:
    """Return the process's resident memory in KiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def main(what: str, on: str) -> None:
    # What any networked application has.
    for module in ("asyncio", "http.client", "logging", "socket", "ssl"):
        importlib.import_module(module)
    if on == "sdk":
        for module in ("trace.export", "metrics.export", "resources"):
            importlib.import_module(f"opentelemetry.sdk.{module}")
    name, switch_on = PEERS[what]
    before, start = resident(), time.perf_counter_ns()
    switch_on(importlib.import_module(name))
    took = time.perf_counter_ns() - start
    print(json.dumps({"ms": took / 1e6, "kib": resident() - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
