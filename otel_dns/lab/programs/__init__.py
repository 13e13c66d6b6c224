"""Gets the real programs that the lab runs: found on this machine, else built from source.

``find`` only looks; ``get`` builds what is missing, once, into the user's cache folder.
"""

from otel_dns.lab.programs.building import get
from otel_dns.lab.programs.catalog import PROGRAMS, Program, collector_config
from otel_dns.lab.programs.errors import BuildFailed, ProgramMissing
from otel_dns.lab.programs.finding import cache_folder, find
from otel_dns.lab.programs.progress import Progress

__all__ = [
    "PROGRAMS",
    "BuildFailed",
    "Program",
    "ProgramMissing",
    "Progress",
    "cache_folder",
    "collector_config",
    "find",
    "get",
]
