"""Where programs run: a Pod, or the node."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from otel_dns.lab import addresses as plan
from otel_dns.lab import environment, process
from otel_dns.lab.process import READY_SECONDS, LabProcess, Spec
from otel_dns.lab.session import Session


class Place:
    """A network, mount and UTS namespace with an address, in which programs can be started."""

    def __init__(self, session: Session, key: str, address: str, env: Mapping[str, str]) -> None:
        self._session = session
        self._key = key
        self.address = address
        """Its own address."""
        self._env = env

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        input: str | None = None,  # noqa: A002 - as subprocess.run has it
        timeout: float = 30.0,
        check: bool = False,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end, as ``subprocess.run`` does with text and captured output.

        Args:
            argv: Program and arguments.
            env: Added to the environment: the caller's, without proxies, resolver options and
                OTEL_*; and, in a Pod, POD_NAME, POD_NAMESPACE, POD_IP, NODE_NAME, CONTAINER_NAME.
            cwd: Working directory; the caller's when ``None``.
            input: Its standard input.
            timeout: Seconds.
            check: Raise when the exit code is not 0.

        Raises:
            LabError: It cannot be started.
            subprocess.TimeoutExpired: It took too long; it and what it started were killed.
            subprocess.CalledProcessError: ``check``, and the exit code is not 0.
        """
        spec = self.spec(argv, name=Path(argv[0]).name, env=env, cwd=cwd)
        done = process.run(self._session, spec, stdin=input, timeout=timeout)
        if check:
            done.check_returncode()
        return done

    def start(
        self,
        argv: Sequence[str],
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        about: Mapping[str, Any] | None = None,
        ready: Callable[[LabProcess], bool] | None = None,
        ready_seconds: float = READY_SECONDS,
        fds: Sequence[int] = (),
    ) -> LabProcess:
        """Start a program and leave it running; its output goes to its log.

        Args:
            argv: Program and arguments.
            name: Names the process and its log; the program's name when ``None``.
            env: As for ``run``.
            cwd: As for ``run``.
            about: Shown by ``Lab.status`` with the process.
            ready: Whether it is ready, asked every 20 ms; ``None``: do not wait.
            ready_seconds: The bound on that.
            fds: Descriptors of the caller that become its 3, 4, ...

        Raises:
            LabError: It cannot be started.
            ProgramFailed: It ended before it was ready, or was not in time.
        """
        spec = self.spec(
            argv,
            name=name or Path(argv[0]).name,
            env=env,
            cwd=cwd,
            about=about,
            ready=ready,
            ready_seconds=ready_seconds,
            fds=fds,
        )
        return LabProcess.start(self._session, spec)

    def spec(
        self,
        argv: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        about: Mapping[str, Any] | None = None,
        ready: Callable[[LabProcess], bool] | None = None,
        ready_seconds: float = READY_SECONDS,
        fds: Sequence[int] = (),
    ) -> Spec:
        """How this place would start a program."""
        return Spec(
            name=name,
            pod=self._key,
            argv=[os.fspath(each) for each in argv],
            env={**environment.inherited(), **self._env, **(env or {})},
            cwd=cwd or str(Path.cwd()),
            about=about or {},
            ready=ready,
            ready_seconds=ready_seconds,
            fds=fds,
        )


class Node(Place):
    """The node: telemetry programs run here, every Pod reaches it at 10.244.0.1."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, "", plan.NODE, {})


class Pod(Place):
    """A Pod: its own address, host name and resolver files."""

    def __init__(self, session: Session, record: Mapping[str, Any], container: str = "app") -> None:
        self.name: str = record["name"]
        self.namespace: str = record["namespace"]
        self.node: str = record["node"]
        self.addresses: tuple[str, ...] = tuple(record["addresses"])
        """Its own address first, then those of Services it answers for."""
        super().__init__(
            session,
            f"{self.namespace}/{self.name}",
            self.addresses[0],
            environment.downward_api(
                name=self.name,
                namespace=self.namespace,
                node=self.node,
                address=self.addresses[0],
                container=container,
            ),
        )

    def delete(self) -> None:
        """Kill the Pod's programs and remove it with its network."""
        self._session.control.call("delete_pod", pod=self._key)
