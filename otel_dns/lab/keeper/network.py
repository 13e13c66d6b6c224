"""The lab's network, made over netlink: one bridge, and a veth pair for each Pod.

Everything hangs on one Ethernet segment: Pods, their cluster's Service addresses and an "outside"
(documentation addresses of RFC 5737) for upstream servers. All ranges are on-link everywhere; what
is in none of them goes to the node, which answers that it has no route.
"""

import contextlib
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from otel_dns.lab import addresses as plan
from otel_dns.lab.errors import LabError, LabUnavailable

_BRIDGE: Final = "pods"
_POD_INTERFACE: Final = "eth0"


def set_up_node() -> None:
    """Make the calling process's new network namespace the node: loopback, bridge, routes.

    Raises:
        LabUnavailable: The kernel has none for us.
    """
    try:
        _make_node()
    except Exception as error:
        raise LabUnavailable(f"no network of one's own can be made here: {error}") from error
    # So that the node answers "no route" at once where it would otherwise drop in silence; and no
    # advice to hosts about better routes, which would only be noise.
    _set_ipv4("ip_forward", "1")
    _set_ipv4("conf/all/send_redirects", "0")


def _make_node() -> None:
    with _netlink() as link:
        _up(link, "lo")
        # With an address of its own: otherwise it takes its lowest port's, which changes as Pods
        # come, and those that know the old one talk to nobody for a while.
        link.link("add", ifname=_BRIDGE, kind="bridge", address=_hardware_address(plan.NODE))
        bridge = _up(link, _BRIDGE)
        # NodeLocal DNSCache's customary address; its Pods reach it through the node's address.
        loopback = link.link_lookup(ifname="lo")[0]
        link.addr("add", index=loopback, address=plan.NODE_LOCAL_DNS, prefixlen=32)
        link.addr("add", index=bridge, address=plan.NODE, prefixlen=32)
        _add_routes(link, bridge, plan.NODE, default=None)


def connect_pod(interface: str, process: int, address: str) -> None:
    """Join a process's network namespace to the bridge; call it on the node.

    Args:
        interface: Name for the node's end, at most 15 bytes.
        process: Process id of the Pod's holder, as the caller's PID namespace sees it.
        address: The one of its addresses that a later Pod may have again. The hardware address
            follows from it, so that others need not notice.
    """
    with _netlink() as link:
        peer_end = {"ifname": _POD_INTERFACE, "address": _hardware_address(address)}
        try:
            link.link("add", ifname=interface, kind="veth", peer=peer_end)
        except Exception as error:
            raise LabError(f"no veth pair can be made here: {error}") from error
        bridge = link.link_lookup(ifname=_BRIDGE)[0]
        peer = link.link_lookup(ifname=_POD_INTERFACE)[0]
        link.link("set", index=peer, net_ns_pid=process)
        link.link("set", index=link.link_lookup(ifname=interface)[0], master=bridge, state="up")


def set_up_pod(addresses: Sequence[str]) -> None:
    """Configure the Pod's end; call it inside the Pod's network namespace.

    Args:
        addresses: IPv4 or IPv6 addresses, the Pod's own first: packets it sends come from that one.
    """
    with _netlink() as link:
        _up(link, "lo")
        interface: int = link.link_lookup(ifname=_POD_INTERFACE)[0]
        for address in addresses:
            prefix = 128 if ":" in address else 32
            try:
                link.addr("add", index=interface, address=address, prefixlen=prefix)
            except Exception as error:
                raise LabError(f"{address!r} cannot be a Pod's address: {error}") from error
        _up(link, _POD_INTERFACE)
        _add_routes(link, interface, addresses[0], default=plan.NODE)


def _hardware_address(address: str) -> str:
    # 02 in the first byte: locally administered.
    try:
        packed = ipaddress.ip_address(address).packed
    except ValueError as error:
        raise LabError(f"{address!r} cannot be a Pod's address: {error}") from error
    return ":".join(f"{byte:02x}" for byte in (2, len(packed), *packed[-4:]))


def _netlink() -> Any:
    # Imported late: it takes 0.2 s, and only the keeper needs it.
    from pyroute2 import IPRoute  # noqa: PLC0415

    return IPRoute()


def _up(link: Any, name: str) -> int:
    index: int = link.link_lookup(ifname=name)[0]
    link.link("set", index=index, state="up")
    return index


def _add_routes(link: Any, interface: int, source: str, default: str | None) -> None:
    for destination in plan.RANGES:
        link.route("add", dst=destination, oif=interface, prefsrc=source, scope="link")
    if default is not None:
        link.route("add", dst="default", gateway=default, oif=interface, prefsrc=source)


def _set_ipv4(name: str, value: str) -> None:
    # Where /proc/sys is read-only (some containers), the lab works without.
    with contextlib.suppress(OSError):
        Path("/proc/sys/net/ipv4", name).write_text(value)
