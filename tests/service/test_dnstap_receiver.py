"""dnstap over sockets: the handshake, and senders that hang, are cut off or send rubbish."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

import otel_dns.lab
from otel_dns.model import Message  # noqa: TC001
from otel_dns.service.configuration.settings import ServerTls
from otel_dns.service.receivers.dnstap_receiver import DnstapReceiver
from otel_dns.service.sorting import Incoming
from otel_dns.wire import frame_streams as fs
from otel_dns.wire.frame_streams import Control, ControlType, Data
from tests.support.waiting import eventually

RECORDED = Path(otel_dns.lab.__file__).parent / "recordings" / "demo" / "coredns.fstrm"
PAYLOADS = [one.payload for one in fs.decode(RECORDED.read_bytes()) if isinstance(one, Data)]
CONTENT = (fs.DNSTAP_CONTENT_TYPE,)


class Pipeline:
    """Takes messages, or none while it is full."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.full = False

    def offer(self, incoming: Incoming, size: int, timeout_s: float) -> bool:
        if not self.full:
            self.messages += incoming.messages
        return not self.full


class Sender:
    """What CoreDNS's side of a connection does, step by step."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        connected.settimeout(60)

    def control(self, kind: ControlType, *content: bytes) -> None:
        self.socket.sendall(fs.encode_control(Control(kind, content)))

    def data(self, *payloads: bytes) -> None:
        self.socket.sendall(b"".join(map(fs.encode_data, payloads)))

    def answer(self) -> Control:
        decoder = fs.Decoder()
        while True:
            received = self.socket.recv(1 << 16)
            assert received, "the receiver hung up"
            for frame in decoder.feed(received):
                assert isinstance(frame, Control)
                return frame

    def hung_up(self) -> bool:
        try:
            return not self.socket.recv(1 << 16)
        except ConnectionResetError:
            return True

    def start(self) -> None:
        self.control(ControlType.READY, *CONTENT)
        assert self.answer() == Control(ControlType.ACCEPT, CONTENT)
        self.control(ControlType.START, *CONTENT)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


Start = Callable[..., DnstapReceiver]


@pytest.fixture
def receiving(pipeline: Pipeline) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(*listen: str, **options: object) -> DnstapReceiver:
            receiver = DnstapReceiver(listen, pipeline.offer, **options)  # type: ignore[arg-type]
            stack.callback(receiver.stop)
            receiver.start()
            return receiver

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., Sender]]:
    with ExitStack() as stack:

        def connected(receiver: DnstapReceiver, context: ssl.SSLContext | None = None) -> Sender:
            address = receiver.addresses[0]  # type: ignore[attr-defined]
            if address.startswith("unix:"):
                plain = socket.socket(socket.AF_UNIX)
                plain.connect(address.removeprefix("unix:"))
                return Sender(stack.enter_context(plain))
            host, _, port = address.removeprefix("tls:").rpartition(":")
            plain = socket.create_connection((host, int(port)), timeout=60)
            if context is not None:
                plain = context.wrap_socket(plain, server_hostname="localhost")
            return Sender(stack.enter_context(plain))

        yield connected


def test_a_whole_conversation(receiving, connect, pipeline) -> None:
    receiver = receiving("127.0.0.1:0")
    sender = connect(receiver)
    sender.start()
    sender.data(*PAYLOADS)
    sender.control(ControlType.STOP)
    assert sender.answer() == Control(ControlType.FINISH)
    assert sender.hung_up()
    assert len(pipeline.messages) == len(PAYLOADS) == receiver.counts["dnstap_messages"]


def test_a_sender_that_does_not_shake_hands(receiving, connect, pipeline) -> None:
    sender = connect(receiving("127.0.0.1:0"))
    sender.control(ControlType.START, *CONTENT)
    sender.data(*PAYLOADS)
    eventually(lambda: len(pipeline.messages) == len(PAYLOADS), "all messages")


def test_over_a_unix_socket_even_after_a_crash(receiving, connect, pipeline, tmp_path) -> None:
    path = tmp_path / "dnstap.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
        crashed.listen()
    sender = connect(receiving(f"unix:{path}"))
    sender.start()
    sender.data(PAYLOADS[0])
    eventually(lambda: pipeline.messages, "the message")
    with pytest.raises(OSError, match="in use"):
        receiving(f"unix:{path}")


def test_nothing_but_a_stale_socket_is_removed(receiving, tmp_path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(OSError, match="cannot listen on unix:"):
        receiving(f"unix:{tmp_path / 'precious'}")
    assert (tmp_path / "precious").read_text() == "data"


def test_over_tls_to_those_whom_the_ca_knows(receiving, connect, pipeline, tmp_path) -> None:
    ca = trustme.CA()
    issued = ca.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = ServerTls(tmp_path / "server.pem", tmp_path / "server.pem", tmp_path / "ca.pem")
    receiver = receiving("tls:127.0.0.1:0", tls=files)

    stranger = ssl.create_default_context()
    ca.configure_trust(stranger)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        connect(receiver, stranger).start()

    known = ssl.create_default_context()
    ca.configure_trust(known)
    ca.issue_cert("client").configure_cert(known)
    sender = connect(receiver, known)
    sender.start()
    sender.data(PAYLOADS[0])
    eventually(lambda: pipeline.messages, "the message")


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        (["tls:127.0.0.1:0"], "needs a certificate"),
        (["nonsense"], "HOST:PORT"),
        (["127.0.0.1:0", "unix:/nowhere/at/all"], "cannot listen on unix:/nowhere"),
    ],
)
def test_addresses_that_cannot_be(receiving, listen, message) -> None:
    with pytest.raises(OSError, match=message):
        receiving(*listen)


@pytest.mark.parametrize(
    ("rubbish", "count"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "dnstap_streams_malformed"),
        (fs.encode_data(PAYLOADS[0]), "dnstap_streams_malformed"),
        (fs.encode_control(Control(ControlType.READY, (b"other",))), "dnstap_streams_malformed"),
        (fs.encode_control(Control(ControlType.FINISH)), "dnstap_streams_malformed"),
        (b"\xff\xff\xff\xff", "dnstap_streams_malformed"),
    ],
)
def test_no_dnstap_is_hung_up_on(receiving, connect, rubbish, count) -> None:
    receiver = receiving("127.0.0.1:0")
    sender = connect(receiver)
    sender.socket.sendall(rubbish)
    assert sender.hung_up()
    assert receiver.counts[count] == 1


def test_a_frame_without_end_is_not_collected(receiving, connect, pipeline) -> None:
    receiver = receiving("127.0.0.1:0")
    sender = connect(receiver)
    sender.start()
    sender.socket.sendall(fs.encode_data(PAYLOADS[0]) + (1 << 20).to_bytes(4, "big"))
    with contextlib.suppress(OSError):
        sender.socket.sendall(bytes(1 << 19))
    assert sender.hung_up()
    assert receiver.counts["dnstap_streams_malformed"] == 1
    assert len(pipeline.messages) == 1


def test_who_asks_without_end_is_hung_up_on(receiving, connect) -> None:
    receiver = receiving("127.0.0.1:0")
    sender = connect(receiver)
    ready = fs.encode_control(Control(ControlType.READY, CONTENT))
    with contextlib.suppress(OSError):
        for _ in range(2_000):  # 10 MB of answers: more than sockets hold
            sender.socket.sendall(ready * 128)
    eventually(lambda: receiver.counts["dnstap_streams_malformed"] == 1, "the stream cut off")


def test_a_broken_message_costs_itself_only(receiving, connect, pipeline) -> None:
    receiver = receiving("127.0.0.1:0")
    sender = connect(receiver)
    sender.start()
    sender.data(PAYLOADS[0], b"\xff\xff", b"x", PAYLOADS[1])
    eventually(lambda: len(pipeline.messages) == 2, "the two good messages")
    assert receiver.counts["dnstap_messages_malformed"] == 2


def test_what_came_before_a_broken_frame_is_kept(receiving, connect, pipeline) -> None:
    receiver = receiving("127.0.0.1:0")
    sender = connect(receiver)
    sender.start()
    sender.socket.sendall(fs.encode_data(PAYLOADS[0]) + b"\xff\xff\xff\xff")
    assert sender.hung_up()
    assert len(pipeline.messages) == 1


def test_senders_that_hang_cost_the_others_nothing(receiving, connect, pipeline) -> None:
    receiver = receiving("127.0.0.1:0", handshake_s=3.0)
    silent, halfway, cut = connect(receiver), connect(receiver), connect(receiver)
    halfway.start()
    halfway.socket.sendall(fs.encode_data(PAYLOADS[0])[:-1])  # and never the rest
    cut.start()
    cut.socket.sendall(b"\0")
    cut.socket.close()
    good = connect(receiver)
    good.start()
    good.data(*PAYLOADS)
    eventually(lambda: len(pipeline.messages) == len(PAYLOADS), "the good sender's messages")
    assert silent.hung_up()
    assert receiver.counts["dnstap_handshakes_timed_out"] == 1
    eventually(lambda: receiver.counts["dnstap_connections_broken"] == 1, "the cut connection")
    eventually(lambda: receiver.gauges() == {"dnstap_senders": 2}, "two senders left")


def test_a_full_pipeline_holds_the_sender_back(receiving, connect, pipeline) -> None:
    receiver = receiving("127.0.0.1:0")
    sender = connect(receiver)
    sender.start()
    pipeline.full = True
    sent = threading.Event()

    def send_for_ever() -> None:
        try:
            while True:
                sender.data(*PAYLOADS)
        except OSError:
            sent.set()

    sender.socket.settimeout(1)  # so long held back is held back
    thread = threading.Thread(target=send_for_ever)
    thread.start()
    assert sent.wait(90), "the sender was never held back"
    thread.join()
    assert not pipeline.messages
    pipeline.full = False
    eventually(lambda: pipeline.messages, "messages once there is room")


def test_stopping_with_senders_connected(receiving, connect, pipeline) -> None:
    receiver = receiving("127.0.0.1:0")
    sender = connect(receiver)
    sender.start()
    sender.data(*PAYLOADS)
    eventually(lambda: pipeline.messages, "messages")
    receiver.stop()
    assert sender.hung_up()
