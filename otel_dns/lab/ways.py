"""A way in the hands of who opened it: see :mod:`otel_dns.lab.way`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from otel_dns.lab import environment, way
from otel_dns.lab.places import Place
from otel_dns.lab.process import LabProcess


@dataclass(frozen=True, slots=True)
class Way:
    """An open way.

    Attributes:
        process: The program.
        address: Where it is asked, UDP and TCP port 53.
    """

    process: LabProcess
    address: str

    def crossings(self) -> list[way.Crossing]:
        """What went over it so far."""
        return way.crossings_of(self.process.output())


def start(place: Place, *, listen: str, server: str, source: str, rules: Sequence[way.Rule]) -> Way:
    """See ``Lab.way``."""
    process = place.start(
        [
            *(sys.executable, "-P", "-m", "otel_dns.lab.way"),
            *way.arguments_of(listen, server, source, rules),
        ],
        name="way",
        env=environment.own_source(),
        ready=lambda process: way.READY in process.output(),
    )
    return Way(process, listen)
