"""Pods: each a process that does nothing but hold its network, mount and UTS namespace."""

import contextlib
import ipaddress
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from otel_dns.lab import addresses as plan
from otel_dns.lab import labels, namespaces
from otel_dns.lab.errors import LabError
from otel_dns.lab.keeper import etc_files, network, spawn

_NEW_NAMESPACES: Final = namespaces.CLONE_NEWNET | namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS


@dataclass(frozen=True, slots=True)
class PodRecord:
    """One Pod, as the keeper knows it; ``addresses[0]`` is its own, others are Services'."""

    name: str
    namespace: str
    node: str
    addresses: tuple[str, ...]
    holder: int
    holder_pidfd: int

    @property
    def key(self) -> str:
        """What names it in requests."""
        return f"{self.namespace}/{self.name}"

    def as_message(self) -> dict[str, Any]:
        """For replies."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "node": self.node,
            "addresses": list(self.addresses),
            "holder": self.holder,
        }


class Pods:
    """All Pods of the lab, and the addresses they have."""

    def __init__(self, files: Path) -> None:
        self._files = files
        self._pods: dict[str, PodRecord] = {}
        # Not a pidfd of our own: that would lead to wherever we are just then.
        self._node_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._next_address = int(ipaddress.ip_address(plan.NODE)) + 1
        self._made = 0

    def all(self) -> list[PodRecord]:
        """Every Pod, in the order they were made."""
        return list(self._pods.values())

    def get(self, key: str) -> PodRecord:
        """A Pod by ``namespace/name``.

        Raises:
            LabError: There is none.
        """
        try:
            return self._pods[key]
        except KeyError:
            raise LabError(f"there is no Pod {key}") from None

    def create(
        self,
        *,
        name: str,
        namespace: str,
        node: str,
        addresses: Sequence[str],
        nameservers: Sequence[str],
        search: Sequence[str],
        options: Sequence[str],
    ) -> PodRecord:
        """Make a Pod.

        Args:
            name: Its name, also its host name.
            namespace: Its Kubernetes namespace.
            node: The name of the node it is said to run on.
            addresses: Its own and further ones; an empty list, or an empty string in the first
                place, stands for the next free one of the Pod range.
            nameservers: For its resolv.conf.
            search: For its resolv.conf.
            options: For its resolv.conf.

        Raises:
            LabError: A name is no label, the Pod exists, or an address is taken or none.
        """
        for what, text in (("a Pod", name), ("a namespace", namespace)):
            # They become names of files.
            if not labels.is_label(text):
                raise LabError(f"{text!r} is no name for {what}: it must be {labels.RULE}")
        key = f"{namespace}/{name}"
        if key in self._pods:
            raise LabError(f"there is a Pod {key} already")
        own = tuple(addresses) or ("",)
        own = (own[0] or self._free_address(), *own[1:])
        for each in own:
            for other in self._pods.values():
                if each in other.addresses:
                    raise LabError(f"Pod {other.key} has the address {each} already")
        directory = self._files / "pods" / f"{namespace}_{name}"
        etc_files.EtcFiles(name, own[0], nameservers, search, options, namespace).write(directory)
        holder = _fork_holder(name, directory)
        try:
            self._made += 1
            network.connect_pod(f"veth{self._made}", holder, own[-1])
            pidfd = os.pidfd_open(holder)
            with self._inside(pidfd):
                network.set_up_pod(own)
        except BaseException:
            os.kill(holder, signal.SIGKILL)
            raise
        pod = PodRecord(name, namespace, node, own, holder, pidfd)
        self._pods[key] = pod
        return pod

    def delete(self, pod: PodRecord) -> None:
        """Remove a Pod whose processes have ended; its veth pair goes with its namespace."""
        os.kill(pod.holder, signal.SIGKILL)
        os.close(pod.holder_pidfd)
        del self._pods[pod.key]

    @contextlib.contextmanager
    def in_network_of(self, pod: PodRecord | None) -> Iterator[None]:
        """Let a socket made meanwhile belong to a Pod's network; ``None``: the node's."""
        if pod is None:
            yield
            return
        with self._inside(pod.holder_pidfd):
            yield

    @contextlib.contextmanager
    def _inside(self, pidfd: int) -> Iterator[None]:
        spawn.enter_network(pidfd)
        try:
            yield
        finally:
            spawn.enter_network(self._node_network)

    def _free_address(self) -> str:
        taken = {address for pod in self._pods.values() for address in pod.addresses}
        while True:
            address = str(ipaddress.ip_address(self._next_address))
            self._next_address += 1
            if address not in taken:
                return address


def _fork_holder(hostname: str, etc: Path) -> int:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _hold(hostname, etc, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        answer = pipe.read().decode(errors="replace")
    if answer != "ready":
        os.waitpid(pid, 0)
        raise LabError(f"Pod {hostname} cannot be made: {answer or 'its holder died'}")
    return pid


def _hold(hostname: str, etc: Path, report: int) -> NoReturn:
    try:
        spawn.restore_signals()
        namespaces.unshare(_NEW_NAMESPACES)
        namespaces.set_hostname(hostname)
        namespaces.set_process_name("pause")
        etc_files.mount_over_etc(etc)
        os.write(report, b"ready")
        # Connections that stayed open here would never look closed to the other side.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        while True:
            signal.pause()
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        with contextlib.suppress(OSError):
            os.write(report, str(error).encode()[:2000])
    finally:
        os._exit(1)
