"""A capture read back: lookups, server spans, messages, and which query was truly whose.

Every worker had an address of its own and one lookup at a time, so a server trace belongs to the
last lookup that its worker had begun. Only then are the addresses masked: to the join, everything
seems to come from one Pod.
"""

import gzip
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from bench.join.record import SEARCH
from otel_dns import names, semconv
from otel_dns.lab import addresses
from otel_dns.model import Message
from otel_dns.wire import dnstap, frame_streams
from otel_dns.wire.frame_streams import Data

POD: Final = "10.244.9.9"
"""The one address that all workers seem to have."""
_ROUNDING_NS: Final = 2_000
_TYPES: Final = ("A", "AAAA")

WireKey = tuple[int, int, str, str]
"""Client port, message id, name, type."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of ``getaddrinfo``."""

    number: int
    worker: int
    name: str
    candidates: tuple[str, ...]
    start_ns: int
    end_ns: int
    error: str
    """``errno`` of gaierror; empty when it ended well."""


@dataclass(slots=True)
class Traced:
    """What CoreDNS wrote of one query."""

    trace_id: str
    root: Mapping[str, Any]
    """As in Zipkin's JSON; times in microseconds."""
    owner: int | None
    """Number of the lookup that caused it; nothing for warming up."""
    hop: int = 0
    certain: bool = True
    """Whether the owner is known at all: behind a cache on the node it is not always."""
    wire: WireKey | None = None

    @property
    def start_ns(self) -> int:
        """By the clock of the machine, which both sides share."""
        return int(self.root["timestamp"]) * 1000

    @property
    def slot(self) -> tuple[str, str]:
        """Name and type."""
        tags = self.root["tags"]
        return names.normalise(tags[semconv.COREDNS_NAME]), tags[semconv.COREDNS_TYPE]


@dataclass(slots=True)
class Recording:
    """A capture with its truth."""

    condition: str
    seed: int
    asked: list[Asked]
    spans: list[dict[str, Any]]
    """All server spans as posted, in the order in which they came, addresses masked."""
    messages: list[Message]
    """dnstap's, addresses masked."""
    traces: dict[str, Traced] = field(default_factory=dict)
    """By trace id."""

    @property
    def in_flight(self) -> float:
        """Lookups in flight, the mean over time."""
        busy = sum(one.end_ns - one.start_ns for one in self.asked)
        first = min(one.start_ns for one in self.asked)
        return busy / (max(one.end_ns for one in self.asked) - first)


def load(directory: Path) -> Recording:
    """Read a capture."""
    about = json.loads((directory / "capture.json").read_text())
    with gzip.open(directory / "lookups.jsonl.gz", "rt") as file:
        asked = [_asked(number, json.loads(line)) for number, line in enumerate(file)]
    with gzip.open(directory / "zipkin.jsonl.gz", "rb") as file:
        spans = [span for line in file for span in json.loads(line)]
    data = gzip.decompress((directory / "dnstap.fstrm.gz").read_bytes())
    decoded = (
        dnstap.decode(frame.payload)
        for frame in frame_streams.Decoder().feed(data)
        if isinstance(frame, Data)
    )
    messages = [one for one in decoded if isinstance(one, Message)]
    recording = Recording(about["condition"], about["seed"], asked, spans, [])
    workers = {address: number for number, address in enumerate(about["workers"])}
    find_owners(recording, workers)
    for message in messages:
        traced = recording.traces.get(message.trace_id.hex())
        if traced is not None and message.kind == "CQ":
            traced.wire = (message.client_port, message.dns_id, message.name, message.type)
        masked = POD if message.client in workers else message.client
        recording.messages.append(replace(message, client=masked))
    for span in spans:
        tags = span.get("tags", {})
        if tags.get(semconv.COREDNS_REMOTE) in workers:
            tags[semconv.COREDNS_REMOTE] = POD
    return recording


def _asked(number: int, line: Sequence[Any]) -> Asked:
    worker, name, start_ns, end_ns, error = line
    candidates = tuple(names.candidates(name, SEARCH, 5, "glibc"))
    return Asked(number, worker, name, candidates, start_ns, end_ns, error)


def find_owners(recording: Recording, workers: Mapping[str, int]) -> None:
    of_worker: dict[tuple[int, str], list[Asked]] = defaultdict(list)
    for one in sorted(recording.asked, key=lambda one: one.start_ns):
        for name in one.candidates:
            of_worker[one.worker, name].append(one)
    forwarded = []
    for span in recording.spans:
        if span["name"] != semconv.SERVEDNS_SPAN:
            continue
        traced = Traced(span["traceId"], span, None)
        recording.traces[traced.trace_id] = traced
        worker = workers.get(span["tags"][semconv.COREDNS_REMOTE])
        if worker is None:
            forwarded.append(traced)
            continue
        begun = of_worker[worker, traced.slot[0]]
        at = bisect_right(begun, traced.start_ns + _ROUNDING_NS, key=lambda one: one.start_ns)
        if at:
            traced.owner = begun[at - 1].number
    if forwarded:
        _find_askers(recording, forwarded)


def _find_askers(recording: Recording, forwarded: Sequence[Traced]) -> None:
    """Find for each query of the node's cache the lookup that it was made for, where one fits."""
    asking: dict[tuple[str, str], list[tuple[int, int, Traced]]] = defaultdict(list)
    for span in recording.spans:
        if span["name"] == semconv.CONNECT_SPAN:
            asker = recording.traces.get(span["traceId"])
            peer = span.get("tags", {}).get(semconv.PEER_ADDRESS, "")
            if asker is not None and peer.startswith(addresses.CLUSTER_DNS):
                start_ns = span["timestamp"] * 1000
                asking[asker.slot].append((start_ns, start_ns + span["duration"] * 1000, asker))
    for traced in forwarded:
        fitting = [
            asker
            for start_ns, end_ns, asker in asking[traced.slot]
            if start_ns - _ROUNDING_NS <= traced.start_ns <= end_ns + _ROUNDING_NS
        ]
        traced.hop = 1
        traced.certain = len(fitting) == 1
        if traced.certain:
            traced.owner = fitting[0].owner
