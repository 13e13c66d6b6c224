"""What is captured in the lab, and what a replay does to a capture.

A :class:`Condition` is a load on real programs, recorded once for each seed. A :class:`View` is
what the join gets to see of it: other clocks, a sampled side, lost telemetry. Views are applied to
the recorded times and records, so that one capture serves many questions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HELD_OUT_SEEDS: Final = (110, 111, 112, 113)
"""For figures only: nothing is tuned on them. Seeds 1 to 7 are open to whoever tunes the join;
101 to 109 were played for versions before."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A load of real ``getaddrinfo`` calls on a real CoreDNS."""

    workers: int
    """Threads, each asks again as soon as it has its answer (after ``pause_ms``)."""
    names: int
    """Different names, half of them in the cluster unless ``external`` says otherwise."""
    lookups: int
    """In all."""
    zipf: bool = False
    """Names are asked for as Zipf's law has it (exponent 1), not evenly."""
    external: float = 0.7
    """Share of lookups that go through the search list to an upstream."""
    upstream_ms: int = 0
    """Mean time until the upstream answers: each time one of fifteen by chance, log-normal."""
    pause_ms: float = 0
    """Mean of the exponentially distributed time between a worker's lookups."""
    burst: bool = False
    """All workers ask for one name at the same instant, again and again."""
    loss: int = 0
    """Percent of queries, and of answers, that the network loses; stubs time out after 1 s."""
    node_local: bool = False
    """A cache on the node is asked first; it is traced too."""


CONDITIONS: Final[Mapping[str, Condition]] = {
    "many-1": Condition(1, 100, 1000, upstream_ms=8),
    "many-4": Condition(4, 100, 3000, upstream_ms=40),
    "many-16": Condition(16, 100, 3000, upstream_ms=150),
    "many-32": Condition(32, 100, 3000, upstream_ms=300),
    "many-100": Condition(100, 100, 1500, upstream_ms=900),
    "zipf-4": Condition(4, 20, 1000, zipf=True, upstream_ms=40),
    "zipf-16": Condition(16, 20, 1500, zipf=True, upstream_ms=150),
    "zipf-32": Condition(32, 20, 1500, zipf=True, upstream_ms=300),
    "zipf-100": Condition(100, 20, 1500, zipf=True, upstream_ms=900),
    "cluster-16": Condition(16, 20, 1500, zipf=True, external=0, pause_ms=100),
    "one-4": Condition(4, 1, 600, external=1, upstream_ms=40),
    "one-16": Condition(16, 1, 1000, external=1, upstream_ms=150),
    "one-32": Condition(32, 1, 1000, external=1, upstream_ms=300),
    "burst-4": Condition(4, 8, 4000, external=0.5, upstream_ms=20, burst=True),
    "burst-16": Condition(16, 8, 2560, external=0.5, upstream_ms=20, burst=True),
    "saturated-16": Condition(16, 6, 1500, external=0.5),
    "loss-16": Condition(16, 20, 1000, zipf=True, upstream_ms=40, loss=2),
    "two-hops-16": Condition(16, 20, 1000, zipf=True, upstream_ms=150, node_local=True),
}


@dataclass(frozen=True, slots=True)
class View:
    """What of a capture reaches the join, and by which clock."""

    dnstap: bool = False
    """Messages come too: ports and ids of queries, when answers were out."""
    ids: bool = False
    """Clients tell port and id of their queries, as dnspython's do; here they are dnstap's."""
    mark: str = ""
    """What queries of sampled lookups carry, put into what was recorded of them: ``case``, the
    letter case of their names in dnstap's messages; ``edns``, a trace context in these;
    ``context``, HTTP headers, by which CoreDNS's spans are in the client's trace."""
    skew_ms: float = 0
    """The server's clock is ahead by so much."""
    drift_ppm: float = 0
    """... and gains so much: 500 is the most that NTP corrects by."""
    step_ms: float = 0
    """... and jumps by so much in the middle."""
    sampled: float = 1
    """Share of lookups that the application's sampler keeps."""
    told: bool = False
    """Lookups that it does not keep come as compact records without a span to send on."""
    every: int = 1
    """CoreDNS traces one query of so many."""
    lost: float = 0
    """Share of server spans that are lost, in the reporter's batches of 100."""


VIEWS: Final[Mapping[str, View]] = {
    "spans": View(),
    "dnstap": View(dnstap=True),
    "ids": View(dnstap=True, ids=True),
    "case": View(dnstap=True, mark="case"),
    "edns": View(dnstap=True, mark="edns"),
    "context": View(mark="context"),
    "context + dnstap": View(dnstap=True, mark="context"),
    "case, skew 200 ms": View(dnstap=True, mark="case", skew_ms=200),
    "case, sampled 10%": View(dnstap=True, mark="case", sampled=0.1),
    "skew 2 ms": View(skew_ms=2),
    "skew -20 ms": View(skew_ms=-20),
    "skew 20 ms": View(skew_ms=20),
    "skew 200 ms": View(skew_ms=200),
    "drift": View(skew_ms=20, drift_ppm=500),
    "step": View(skew_ms=2, step_ms=20),
    "sampled 10% told": View(sampled=0.1, told=True),
    "sampled 1% told": View(sampled=0.01, told=True),
    "sampled 10%": View(sampled=0.1),
    "sampled 10% + dnstap": View(sampled=0.1, dnstap=True),
    "every 10": View(every=10),
    "every 10 + dnstap": View(every=10, dnstap=True),
    "lost 10%": View(lost=0.1),
    "lost 10% + dnstap": View(lost=0.1, dnstap=True),
}
