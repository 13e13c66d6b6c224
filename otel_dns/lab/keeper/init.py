"""PID 1 of the lab: sets the node up, then serves requests until told to stop.

One thread, one selector. A request is answered at once, or (a process's end, a connection being
made) when it has happened; nothing waits inside a handler for longer than a Pod takes to make.
"""

import contextlib
import errno
import os
import selectors
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from otel_dns.lab import addresses as plan
from otel_dns.lab import namespaces, protocol
from otel_dns.lab.errors import LabError
from otel_dns.lab.keeper import etc_files, network
from otel_dns.lab.keeper.pods import PodRecord, Pods
from otel_dns.lab.keeper.processes import Process, ProcessTable, Stopping
from otel_dns.lab.protocol import Message

NODE_NAME: Final = "node-a"

_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Init:
    """The lab's node and everything on it."""

    def __init__(self, control_socket: Path, files: Path) -> None:
        """Turn the process's new namespaces into the node.

        Raises:
            LabUnavailable: Something that the lab needs is refused.
            OSError: Likewise.
        """
        files.mkdir(parents=True, exist_ok=True)
        namespaces.make_mounts_private()
        with contextlib.suppress(PermissionError):
            # Refused inside containers that mask parts of /proc. The lab itself looks at no
            # process id there, and programs find /proc/self in the inherited one too.
            namespaces.mount_proc()
        namespaces.set_hostname(NODE_NAME)
        network.set_up_node()
        self._set_up_node_resolver(files / "node")
        self._files = files
        self._pods = Pods(files)
        self._processes = ProcessTable()
        self._stopping: Stopping | None = None
        self._stop_asked_by: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._listener = protocol.listen(control_socket)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._watch_children()
        self._tied: dict[socket.socket, Process] = {}
        self._handlers: dict[str, Callable[[socket.socket, Message, list[int]], None]] = {
            "status": self._status,
            "pod": self._create_pod,
            "delete_pod": self._delete_pod,
            "spawn": self._spawn,
            "signal": self._signal,
            "process": self._process,
            "wait": self._wait,
            "connect": self._connect,
            "down": self._down,
        }

    def run(self) -> None:
        """Serve until a ``down`` request is done."""
        while True:
            timeout = None
            if self._stopping is not None:
                timeout = self._stopping.advance()
                if timeout is None:
                    break
            for key, _ in self._selector.select(timeout):
                key.data()
        for connection in self._stop_asked_by:
            self._reply(connection, {"ok": True})

    # -- connections ---------------------------------------------------------------------------

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection = protocol.accept(self._listener)
            self._selector.register(
                connection, selectors.EVENT_READ, lambda: self._readable(connection)
            )

    def _readable(self, connection: socket.socket) -> None:
        try:
            received = protocol.receive(connection)
        except BlockingIOError:
            return
        except (OSError, LabError, ValueError):
            received = None
        if received is None:
            self._close(connection)
            return
        message, fds = received
        try:
            self._handlers[str(message.get("op"))](connection, message, fds)
        except KeyError as error:
            self._reply(connection, {"error": f"not understood: {error}"})
        except (LabError, OSError, ValueError) as error:
            self._reply(connection, {"error": _text(error), "errno": _errno(error)})
        except Exception as error:  # noqa: BLE001 - one bad request must not end the lab
            self._reply(connection, {"error": f"{type(error).__name__}: {error}"})
        finally:
            for fd in fds:
                os.close(fd)

    def _close(self, connection: socket.socket) -> None:
        process = self._tied.pop(connection, None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.signal_group(signal.SIGKILL)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        connection.close()

    def _reply(
        self, connection: socket.socket, message: Message, fds: tuple[int, ...] = ()
    ) -> None:
        # A client that has gone, or that does not read, loses its answer; its hanging-up is seen
        # by _readable.
        with contextlib.suppress(OSError):
            try:
                protocol.send(connection, message, fds)
            except LabError as error:
                protocol.send(connection, {"error": str(error)})

    # -- requests ------------------------------------------------------------------------------

    def _status(self, connection: socket.socket, _message: Message, _fds: list[int]) -> None:
        self._reply(
            connection,
            {
                "files": str(self._files),
                "pods": [each.as_message() for each in self._pods.all()],
                "processes": [each.as_message() for each in self._processes.all()],
            },
        )

    def _create_pod(self, connection: socket.socket, message: Message, _fds: list[int]) -> None:
        pod = self._pods.create(
            name=message["name"],
            namespace=message["namespace"],
            node=message["node"],
            addresses=message["addresses"],
            nameservers=message["nameservers"],
            search=message["search"],
            options=message["options"],
        )
        self._reply(connection, pod.as_message())

    def _delete_pod(self, connection: socket.socket, message: Message, _fds: list[int]) -> None:
        pod = self._pods.get(message["pod"])
        for process in self._processes.running_in(pod.key):
            process.signal_group(signal.SIGKILL)
        self._pods.delete(pod)
        self._reply(connection, {"ok": True})

    def _spawn(self, connection: socket.socket, message: Message, fds: list[int]) -> None:
        if self._stopping is not None:
            raise LabError("the lab is stopping")
        pod = self._named_pod(message)
        process = self._processes.start(
            message["name"],
            pod.key if pod else "",
            message["argv"],
            env=message["env"],
            cwd=message["cwd"],
            fds=fds,
            holder_pidfd=pod.holder_pidfd if pod else None,
            about=message["about"],
        )
        pidfd = os.pidfd_open(process.pid)
        try:
            self._reply(connection, process.as_message(), (pidfd,))
        finally:
            os.close(pidfd)
        if message["tied"]:
            self._tied[connection] = process

            def ended() -> None:
                self._tied.pop(connection, None)
                self._processes.forget(process)
                self._reply(connection, process.as_message())

            process.on_end.append(ended)

    def _signal(self, connection: socket.socket, message: Message, _fds: list[int]) -> None:
        self._processes.get(message["process"]).signal_group(message["signal"])
        self._reply(connection, {"ok": True})

    def _process(self, connection: socket.socket, message: Message, _fds: list[int]) -> None:
        self._reply(connection, self._processes.get(message["process"]).as_message())

    def _wait(self, connection: socket.socket, message: Message, _fds: list[int]) -> None:
        process = self._processes.get(message["process"])
        if process.returncode is not None:
            self._reply(connection, process.as_message())
        else:
            process.on_end.append(lambda: self._reply(connection, process.as_message()))

    def _connect(self, connection: socket.socket, message: Message, _fds: list[int]) -> None:
        host, port = message["host"], message["port"]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self._pods.in_network_of(self._named_pod(message)):
            outgoing = socket.socket(family, _KINDS[message["kind"]])
        outgoing.setblocking(False)
        number = outgoing.connect_ex((host, port))
        if number == errno.EINPROGRESS:
            self._selector.register(
                outgoing, selectors.EVENT_WRITE, lambda: self._connected(connection, outgoing)
            )
        else:
            self._hand_over(connection, outgoing, number)

    def _connected(self, connection: socket.socket, outgoing: socket.socket) -> None:
        self._selector.unregister(outgoing)
        number = outgoing.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._hand_over(connection, outgoing, number)

    def _hand_over(self, connection: socket.socket, outgoing: socket.socket, number: int) -> None:
        with outgoing:
            if number:
                self._reply(connection, {"error": os.strerror(number), "errno": number})
            else:
                self._reply(connection, {"ok": True}, (outgoing.fileno(),))

    def _down(self, connection: socket.socket, _message: Message, _fds: list[int]) -> None:
        self._stop_asked_by.append(connection)
        if self._stopping is None:
            self._stopping = Stopping(self._processes)

    # -- the rest ------------------------------------------------------------------------------

    def _named_pod(self, message: Message) -> PodRecord | None:
        return self._pods.get(message["pod"]) if message["pod"] else None

    def _watch_children(self) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

        def reap() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(reading, 4096)
            self._processes.reap()

        self._selector.register(reading, selectors.EVENT_READ, reap)

    @staticmethod
    def _set_up_node_resolver(directory: Path) -> None:
        etc_files.EtcFiles(
            hostname=NODE_NAME,
            address=plan.NODE,
            nameservers=[plan.UPSTREAM_DNS],
            search=[],
            options=[],
            namespace=None,
        ).write(directory)
        etc_files.mount_over_etc(directory)


def _text(error: Any) -> str:
    return getattr(error, "strerror", None) or str(error)


def _errno(error: Any) -> int | None:
    return getattr(error, "errno", None)
