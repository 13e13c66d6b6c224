"""The join: server traces to the lookups that caused them, and where the time went.

Pure: no sockets, files, threads or clock; time is an argument. :class:`Joiner` owns all state.
"""

from otel_dns.join.breakdown import break_down
from otel_dns.join.joiner import Joiner
from otel_dns.join.leaving import Late, Outcome, Released
from otel_dns.join.settings import JoinSettings
from otel_dns.join.timeline import timeline

__all__ = [
    "JoinSettings",
    "Joiner",
    "Late",
    "Outcome",
    "Released",
    "break_down",
    "timeline",
]
