"""``python -m otel_dns.lab.way``: a way between a client and a DNS server that takes a known time.

Whoever asks it has each message handed on to a server, late by as much as the rules say, or not at
all. For each query it writes a line of JSON about what its way really took: a sleep is longer on a
busy machine. UDP and TCP; times are by the clock that time.time_ns() reads.
"""

import argparse
import asyncio
import contextlib
import json
import re
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from otel_dns.names import normalise
from otel_dns.wire import dns_message

READY: Final = "the way is open"
_PORT: Final = 53
SO_TIMESTAMPNS: Final = 35
"""socket(7): when the kernel had a datagram."""
_MAX_DATAGRAM: Final = 65_535


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to queries on their way."""

    name: str = ".*"
    """Regular expression of the whole question name, lower case, with the last dot."""
    type: str = ""
    """Question type; empty: any."""
    out_ms: float = 0.0
    """How late a query is handed on."""
    back_ms: float = 0.0
    """How late its answer is."""
    lose: int = 0
    """So many queries of each question are lost first."""


class Crossing(NamedTuple):
    """One query's way, in nanoseconds since the epoch."""

    name: str
    type: str
    proto: str
    came_ns: int
    sent_ns: int
    """0: it was lost."""
    answered_ns: int = 0
    returned_ns: int = 0

    @property
    def late_ns(self) -> int:
        """What both ways took together."""
        return self.sent_ns - self.came_ns + self.returned_ns - self.answered_ns

    @property
    def served_ns(self) -> int:
        """What lay beyond."""
        return self.answered_ns - self.sent_ns


@dataclass(slots=True)
class _Way:
    """The rules, and what they have come to."""

    server: str
    source: str
    rules: Sequence[Rule]
    lost: dict[tuple[str, str], int] = field(default_factory=dict)

    def rule(self, name: str, type_: str) -> Rule:
        for rule in self.rules:
            if rule.type in {"", type_} and re.fullmatch(rule.name, name):
                return rule
        return Rule()

    def loses(self, rule: Rule, name: str, type_: str) -> bool:
        lost = self.lost.get((name, type_), 0)
        self.lost[name, type_] = lost + 1
        return lost < rule.lose


def _question(message: bytes) -> tuple[str, str]:
    read = dns_message.read(message)
    return normalise(read.name), read.type


def _tell(crossing: Crossing) -> None:
    sys.stdout.write(json.dumps(crossing) + "\n")
    sys.stdout.flush()


# -- UDP ------------------------------------------------------------------------------------------


def _udp_socket() -> socket.socket:
    made = socket.socket(type=socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return made


def received(endpoint: socket.socket) -> tuple[bytes, int, Any]:
    """Receive a datagram; when the kernel had it, and who sent it."""
    data, about, _, sender = endpoint.recvmsg(_MAX_DATAGRAM, socket.CMSG_SPACE(16))
    ((_, _, stamp),) = about
    seconds, nanoseconds = struct.unpack("@ll", stamp)
    return data, seconds * 1_000_000_000 + nanoseconds, sender


def _serve_udp(way: _Way, near: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    sides: dict[Any, socket.socket] = {}
    asked: dict[tuple[Any, bytes], Crossing] = {}

    def take_query() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                query, came_ns, client = received(near)
                name, type_ = _question(query)
                rule = way.rule(name, type_)
                crossing = Crossing(name, type_, "udp", came_ns, 0)
                if way.loses(rule, name, type_):
                    _tell(crossing)
                else:
                    loop.call_later(rule.out_ms / 1000, send, query, crossing, client)

    def send(query: bytes, crossing: Crossing, client: Any) -> None:
        far = sides.get(client)
        if far is None:
            far = sides[client] = _udp_socket()
            far.bind((way.source, 0))
            far.connect((way.server, _PORT))
            loop.add_reader(far, take_answer, far, client)
        asked[client, query[:2]] = crossing._replace(sent_ns=time.time_ns())
        far.send(query)

    def take_answer(far: socket.socket, client: Any) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                answer, answered_ns, _ = received(far)
                crossing = asked.pop((client, answer[:2]), None)
                if crossing is not None:
                    rule = way.rule(crossing.name, crossing.type)
                    crossing = crossing._replace(answered_ns=answered_ns)
                    loop.call_later(rule.back_ms / 1000, give, answer, crossing, client)

    def give(answer: bytes, crossing: Crossing, client: Any) -> None:
        returned_ns = time.time_ns()
        near.sendto(answer, client)
        _tell(crossing._replace(returned_ns=returned_ns))

    loop.add_reader(near, take_query)


# -- TCP ------------------------------------------------------------------------------------------


async def _messages(reader: asyncio.StreamReader, take: Callable[[bytes, int], None]) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            length = int.from_bytes(await reader.readexactly(2))
            message = await reader.readexactly(length)
            take(message, time.time_ns())


async def _serve_tcp(way: _Way, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(
            way.server, _PORT, local_addr=(way.source, 0) if way.source else None
        )
        asked: dict[bytes, Crossing] = {}

        def take_query(query: bytes, came_ns: int) -> None:
            name, type_ = _question(query)
            rule = way.rule(name, type_)
            crossing = Crossing(name, type_, "tcp", came_ns, 0)
            loop.call_later(rule.out_ms / 1000, send, query, crossing)

        def send(query: bytes, crossing: Crossing) -> None:
            asked[query[:2]] = crossing._replace(sent_ns=time.time_ns())
            far_writer.write(len(query).to_bytes(2) + query)

        def take_answer(answer: bytes, answered_ns: int) -> None:
            crossing = asked.pop(answer[:2])._replace(answered_ns=answered_ns)
            rule = way.rule(crossing.name, crossing.type)
            loop.call_later(rule.back_ms / 1000, give, answer, crossing)

        def give(answer: bytes, crossing: Crossing) -> None:
            returned_ns = time.time_ns()
            writer.write(len(answer).to_bytes(2) + answer)
            _tell(crossing._replace(returned_ns=returned_ns))

        ways = [
            asyncio.ensure_future(_messages(reader, take_query)),
            asyncio.ensure_future(_messages(far_reader, take_answer)),
        ]
        with contextlib.closing(writer), contextlib.closing(far_writer):
            _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for one in left:
                one.cancel()

    server = await asyncio.start_server(carry, sock=listener)
    await server.serve_forever()


async def _serve(way: _Way, listen: str) -> None:
    near = _udp_socket()
    near.bind((listen, _PORT))
    listener = socket.create_server((listen, _PORT))
    _serve_udp(way, near)
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await _serve_tcp(way, listener)


def arguments_of(listen: str, server: str, source: str, rules: Sequence[Rule]) -> list[str]:
    """Return the command line of a way."""
    told = json.dumps([asdict(rule) for rule in rules])
    return ["--listen", listen, "--server", server, "--source", source, "--rules", told]


def crossings_of(output: str) -> list[Crossing]:
    """Read what a way has written, in order of the ends."""
    lines = output.split("\n")[:-1]
    return [Crossing(*json.loads(line)) for line in lines if line.startswith("[")]


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="otel_dns.lab.way")
    for option in ("--listen", "--server", "--source", "--rules"):
        parser.add_argument(option, required=True)
    arguments = parser.parse_args()
    rules = [Rule(**each) for each in json.loads(arguments.rules)]
    asyncio.run(_serve(_Way(arguments.server, arguments.source, rules), arguments.listen))


if __name__ == "__main__":
    main()
