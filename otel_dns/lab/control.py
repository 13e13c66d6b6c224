"""Requests to a lab's keeper, from the outside. Safe to use from several threads."""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from otel_dns.lab import protocol
from otel_dns.lab.errors import LabError, LabGone
from otel_dns.lab.protocol import Message


class RequestFailed(LabError):  # noqa: N818 - a sentence where it is raised
    """The keeper could not do what was asked; ``errno``: the kernel's reason, if any."""

    def __init__(self, message: str, errno: int | None) -> None:
        super().__init__(message)
        self.errno = errno


class Control:
    """The way to one keeper."""

    def __init__(self, control_socket: Path) -> None:
        self._path = control_socket

    def call(
        self, op: str, *, fds: Sequence[int] = (), timeout: float | None = 30.0, **arguments: Any
    ) -> Message:
        """Make one request and take its answer.

        Args:
            op: See ``protocol``.
            fds: Descriptors to send along; they stay the caller's.
            timeout: Seconds to wait for the answer; ``None``: for ever.
            **arguments: The request's fields.

        Raises:
            RequestFailed: The keeper says so.
            TimeoutError: No answer in time.
            LabGone: The keeper is no more.
        """
        with self.request(op, fds=fds, timeout=timeout, **arguments) as (answer, received, _):
            for fd in received:
                os.close(fd)
            return answer

    @contextlib.contextmanager
    def request(
        self, op: str, *, fds: Sequence[int] = (), timeout: float | None = 30.0, **arguments: Any
    ) -> Iterator[tuple[Message, list[int], socket.socket]]:
        """As ``call``, but keep the descriptors, and the connection for a second answer."""
        with protocol.connect(self._path) as connection:
            connection.settimeout(timeout)
            try:
                protocol.send(connection, {"op": op, **arguments}, fds)
            except OSError as error:
                raise LabGone(f"the lab is gone: {error.strerror}") from None
            yield (*receive_answer(connection), connection)


def receive_answer(connection: socket.socket) -> tuple[Message, list[int]]:
    """Take the next answer; errors as for ``Control.call``."""
    try:
        received = protocol.receive(connection)
    except ConnectionError:
        received = None
    if received is None:
        raise LabGone("the lab is gone: its keeper closed the connection")
    answer, fds = received
    if "error" in answer:
        raise RequestFailed(str(answer["error"]), answer.get("errno"))
    return answer, fds
