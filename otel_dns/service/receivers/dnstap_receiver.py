"""dnstap in: a frame-streams server on TCP, TLS and Unix sockets.

CoreDNS connects and keeps the connection; it never waits for us: while nobody reads it drops what
does not fit its queue of 10,000 messages, and logs how many. So a full pipeline holds a sender back
for a while, and then drops its messages here, where they are counted. Each sender has a task of its
own with bounded buffers: one that hangs, is slow or sends rubbish costs the others nothing.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from otel_dns.model import Message
from otel_dns.service import secrets
from otel_dns.service.configuration.settings import Limits, ServerTls
from otel_dns.service.counts import Counts
from otel_dns.service.log_sorting import MESSAGE_BYTES
from otel_dns.service.receivers.intake import Offer
from otel_dns.service.receivers.listening import Listening, listening_socket
from otel_dns.service.sorting import Incoming
from otel_dns.wire import MalformedError, Refusals, dnstap, frame_streams
from otel_dns.wire.frame_streams import Control, ControlType, Data, Decoder, FrameError

_CONTENT_TYPES: Final = (frame_streams.DNSTAP_CONTENT_TYPE,)
_CHUNK: Final = 1 << 16
_HOLD_S: Final = 5.0
"""A sender is held so long while the pipeline is full."""
_POLL_S: Final = 0.05
_MAX_ANSWERS: Final = 4096
"""Bytes of answers to one sender that wait to be read by it; an answer has 42."""
_MAX_FRAME: Final = 160 << 10
"""Bytes of a frame that is not whole yet: twice what the largest DNS message makes."""
_MAX_DECODING: Final = 64
"""Senders whose messages may be decoded and waiting for the pipeline; the others are not read."""

_LIMITS: Final = Limits()

_log = logging.getLogger(__name__)


class DnstapReceiver:
    """Listens in a thread of its own."""

    def __init__(
        self,
        listen: Sequence[str],
        offer: Offer,
        tls: ServerTls | None = None,
        handshake_s: float = 10.0,
        limits: Limits = _LIMITS,
    ) -> None:
        """Make the receiver.

        Args:
            listen: addresses: ``host:port``, ``tls:host:port`` or ``unix:/path``.
            offer: hands messages to the pipeline.
            tls: certificates, for addresses that begin with ``tls:``.
            handshake_s: a sender has so long for TLS, and from then to START (CoreDNS gives up
                after 4 s).
            limits: of connections; a CoreDNS has one for each of its server blocks.
        """
        self._listen = listen
        self._offer = offer
        self._tls = tls
        self._handshake_s = handshake_s
        self._limits = limits
        self.counts = Counts()
        self.addresses: list[str] = []
        """Where it listens, once started, with the ports that were chosen where they were 0."""
        self._loop: asyncio.AbstractEventLoop
        self._servers: list[asyncio.AbstractServer] = []
        self._listening: list[Listening] = []
        self._decoding = asyncio.Semaphore(_MAX_DECODING)
        self._senders: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="otel-dns-dnstap", daemon=True)
        self._warned: set[str] = set()

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: an address cannot be listened on; none is then.
        """
        context = self._context()
        with contextlib.ExitStack() as opened:
            for address in self._listen:
                listening = Listening(_open(address), self._limits, self.counts, "dnstap_senders")
                self._listening.append(opened.enter_context(listening))
            opened.pop_all()
        if not self._listening:
            return
        self._loop = asyncio.new_event_loop()
        for address, listening in zip(self._listen, self._listening, strict=True):
            self._servers.append(
                self._loop.run_until_complete(
                    self._serve(listening, context if address.startswith("tls:") else None)
                )
            )
        self._thread.start()
        self.addresses = [
            _named(address, listening)
            for address, listening in zip(self._listen, self._listening, strict=True)
        ]

    def _context(self) -> ssl.SSLContext | None:
        secured = [address for address in self._listen if address.startswith("tls:")]
        if not secured:
            return None
        if self._tls is None:
            raise OSError(f"{secured[0]} for dnstap needs a certificate and its key")
        return secrets.server_context(self._tls)

    async def _serve(
        self, listening: Listening, context: ssl.SSLContext | None
    ) -> asyncio.AbstractServer:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            listening.secured(writer.transport)
            await self._take(reader, writer)

        if listening.family == socket.AF_UNIX:
            return await asyncio.start_unix_server(take, sock=listening)
        return await asyncio.start_server(
            take,
            sock=listening,
            ssl=context,
            ssl_handshake_timeout=self._handshake_s if context else None,
        )

    def stop(self) -> None:
        """Take no more; what was read is in the pipeline."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for address in self._listen:
            if address.startswith("unix:"):
                Path(address.removeprefix("unix:")).unlink(missing_ok=True)

    def gauges(self) -> dict[str, int]:
        """What is connected now."""
        return {"dnstap_senders": len(self._senders)}

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        await _next_rounds()  # a connection just taken becomes a sender
        for sender in list(self._senders):
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await _next_rounds()  # transports close in them

    # -- one sender ---------------------------------------------------------------------------

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = _sender(writer)
        task = asyncio.current_task()
        assert task is not None
        self._senders.add(task)
        self.counts.add(dnstap_connections=1)
        try:
            await self._read(reader, writer, sender)
        except FrameError as error:
            self.counts.add(dnstap_streams_malformed=1)
            self._warn("stream", "dnstap from %s is no frame stream: %s", sender, error)
        except TimeoutError:
            self.counts.add(dnstap_handshakes_timed_out=1)
        except asyncio.CancelledError:
            pass  # by stop(); streams of Python 3.11 would report it
        except OSError:
            self.counts.add(dnstap_connections_broken=1)
        finally:
            self._senders.discard(task)
            writer.transport.abort()

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str
    ) -> None:
        decoder = Decoder()
        started = False
        deadline = self._loop.time() + self._handshake_s
        while True:
            if started:
                data = await reader.read(_CHUNK)
            else:
                async with asyncio.timeout_at(deadline):
                    data = await reader.read(_CHUNK)
            if not data:
                if decoder.held:
                    self.counts.add(dnstap_connections_broken=1)
                return
            async with self._decoding:
                stopped, started = await self._feed(decoder, data, writer, sender, started)
            if stopped:
                async with asyncio.timeout(self._handshake_s):
                    await writer.drain()
                writer.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await writer.wait_closed()
                return

    async def _feed(
        self,
        decoder: Decoder,
        data: bytes,
        writer: asyncio.StreamWriter,
        sender: str,
        started: bool,
    ) -> tuple[bool, bool]:
        """Take bytes of a stream; whether it has stopped, and whether it has started."""
        messages: list[Message] = []
        stopped = False
        try:
            for frame in decoder.feed(data):
                if isinstance(frame, Data):
                    if not started:
                        raise FrameError("a data frame before START")
                    self._decode(frame.payload, sender, messages)
                elif frame.type is ControlType.START:
                    _check_content(frame)
                    started = True
                else:
                    stopped = _answer(frame, writer) or stopped
            if decoder.held > _MAX_FRAME:
                raise FrameError(f"a frame of more than {_MAX_FRAME} bytes")
        finally:
            # Also what came before the frame that is broken.
            if messages:
                await self._hand_on(messages)
        return stopped, started

    def _decode(self, payload: bytes, sender: str, messages: list[Message]) -> None:
        try:
            decoded = dnstap.decode(payload, sender)
        except MalformedError as error:
            self.counts.add(dnstap_messages_malformed=1)
            self._warn("message", "a dnstap message from %s is broken: %s", sender, error)
            return
        if isinstance(decoded, Message):
            messages.append(decoded)
        else:
            self.counts.add(**{f"dnstap_messages_unused_{decoded.reason}": 1})

    async def _hand_on(self, messages: list[Message]) -> None:
        incoming = Incoming([], [], [], Refusals(), messages)
        deadline = self._loop.time() + _HOLD_S
        while not self._offer(incoming, len(messages) * MESSAGE_BYTES, 0):
            if self._loop.time() >= deadline:
                self.counts.add(dnstap_messages_dropped_full=len(messages))
                return
            await asyncio.sleep(_POLL_S)
        self.counts.add(dnstap_messages=len(messages))

    def _warn(self, what: str, message: str, *details: object) -> None:
        if what not in self._warned:
            self._warned.add(what)
            _log.warning(f"{message} (said once; see metrics)", *details)


async def _next_rounds() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _answer(control: Control, writer: asyncio.StreamWriter) -> bool:
    """Answer a control frame; True when the sender has come to its end."""
    if writer.transport.get_write_buffer_size() > _MAX_ANSWERS:
        raise FrameError("its sender asks and asks, and does not read the answers")
    if control.type is ControlType.READY:
        _check_content(control)
        writer.write(frame_streams.encode_control(Control(ControlType.ACCEPT, _CONTENT_TYPES)))
        return False
    if control.type is ControlType.STOP:
        writer.write(frame_streams.encode_control(Control(ControlType.FINISH)))
        return True
    raise FrameError(f"{control.type.name} is the receiver's to say")


def _check_content(control: Control) -> None:
    if control.content_types and _CONTENT_TYPES[0] not in control.content_types:
        raise FrameError(f"a stream of {control.content_types[0][:60]!r}, not of dnstap")


def _sender(writer: asyncio.StreamWriter) -> str:
    peer: object = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else "unix"


def _open(address: str) -> socket.socket:
    try:
        return listening_socket(address.removeprefix("tls:"))
    except OSError as error:
        raise OSError(f"cannot listen on {address} for dnstap: {error}") from None


def _named(address: str, listening: socket.socket) -> str:
    if listening.family == socket.AF_UNIX:
        return address
    return f"{address.rpartition(':')[0]}:{listening.getsockname()[1]}"
