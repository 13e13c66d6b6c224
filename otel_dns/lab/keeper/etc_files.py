"""The files by which a C library resolves names, as a Pod has them, and mounting them in place."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_dns.lab import namespaces
from otel_dns.lab.errors import LabUnavailable

# Where a C library could ask somebody else's resolver: nscd, nsncd and systemd-resolved.
_RESOLVER_SOCKETS: Final = (
    Path("/run/nscd"),
    Path("/var/run/nscd"),
    Path("/run/systemd/resolve"),
    Path("/var/db/nscd"),
)
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class EtcFiles:
    """What one Pod's (or the node's) name resolution is configured with.

    Attributes:
        hostname: The host name; /etc/hosts maps it to ``address``.
        address: The Pod's own address.
        nameservers: As in resolv.conf(5).
        search: As in resolv.conf(5); empty for none.
        options: As in resolv.conf(5), e.g. ``ndots:5``.
        namespace: The Kubernetes namespace for the service-account file; ``None`` for none.
    """

    hostname: str
    address: str
    nameservers: Sequence[str]
    search: Sequence[str]
    options: Sequence[str]
    namespace: str | None

    def write(self, directory: Path) -> None:
        """Write the files into a directory, which is made."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in self._contents().items():
            (directory / name).write_text(text)

    def _contents(self) -> dict[str, str]:
        resolv_conf = "".join(f"nameserver {each}\n" for each in self.nameservers)
        if self.search:
            resolv_conf += f"search {' '.join(self.search)}\n"
        if self.options:
            resolv_conf += f"options {' '.join(self.options)}\n"
        contents = {
            "resolv.conf": resolv_conf,
            "hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{self.address}\t{self.hostname}\n",
            "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\n"
            "hosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n",
            "hostname": f"{self.hostname}\n",
        }
        if self.namespace is not None:
            contents["namespace"] = self.namespace
        return contents


def mount_over_etc(directory: Path) -> None:
    """Put the files of ``EtcFiles.write`` over /etc's, in this mount namespace only.

    Raises:
        LabUnavailable: The machine has no /etc/resolv.conf to mount over.
    """
    for sockets in _RESOLVER_SOCKETS:
        if sockets.is_dir():
            namespaces.mount_tmpfs(sockets)
    _mount_file(directory / "resolv.conf", Path("/etc/resolv.conf"), needed=True)
    for name in ("hosts", "nsswitch.conf", "hostname"):
        _mount_file(directory / name, Path("/etc", name), needed=False)
    if (directory / "namespace").exists():
        # A convenience: POD_NAMESPACE tells the same. No file system of the host is written to.
        with contextlib.suppress(OSError):
            _mount_service_account(directory / "namespace")


def _mount_file(source: Path, target: Path, *, needed: bool) -> None:
    # Often a symlink into /run, where the file may be missing or was just hidden.
    real = Path(os.path.realpath(target))
    if not real.exists():
        parent = _nearest_directory(real)
        if parent in {Path("/"), Path("/etc")}:
            if needed:
                raise LabUnavailable(
                    f"{target} does not exist, so a Pod's cannot be mounted over it; "
                    "make an empty one"
                )
            return
        if not _is_empty(parent):
            namespaces.mount_tmpfs(parent)
        real.parent.mkdir(parents=True, exist_ok=True)
        real.touch()
    namespaces.bind_mount(source, real)


def _mount_service_account(source: Path) -> None:
    parent = _nearest_directory(Path(os.path.realpath(_SERVICE_ACCOUNT)))
    if parent.name not in {"secrets", "kubernetes.io", "serviceaccount"}:
        return
    namespaces.mount_tmpfs(parent)
    _SERVICE_ACCOUNT.mkdir(parents=True, exist_ok=True)
    (_SERVICE_ACCOUNT / "namespace").write_text(source.read_text())


def _nearest_directory(path: Path) -> Path:
    while not path.is_dir():
        path = path.parent
    return path


def _is_empty(directory: Path) -> bool:
    return not any(directory.iterdir())
