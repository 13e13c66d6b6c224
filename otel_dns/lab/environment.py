"""The environment of programs in the lab."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import otel_dns

# What would lead a program past the lab's DNS or network, or configure its telemetry from outside.
_DROPPED: Final = frozenset({"LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES"})
_DROPPED_ENDINGS: Final = ("_PROXY",)
_DROPPED_BEGINNINGS: Final = ("OTEL_",)


def inherited(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a program in the lab takes over from the caller's environment."""
    source = os.environ if environment is None else environment
    return {
        name: value
        for name, value in source.items()
        if name not in _DROPPED
        and not name.upper().endswith(_DROPPED_ENDINGS)
        and not name.startswith(_DROPPED_BEGINNINGS)
    }


def downward_api(
    *, name: str, namespace: str, node: str, address: str, container: str
) -> dict[str, str]:
    """The variables by which a Pod's manifest customarily tells a program where it runs."""
    return {
        "POD_NAME": name,
        "POD_NAMESPACE": namespace,
        "POD_IP": address,
        "NODE_NAME": node,
        "CONTAINER_NAME": container,
        "HOSTNAME": name,
    }


def own_source() -> dict[str, str]:
    """What lets another Python find this very otel_dns, installed or not."""
    source = str(Path(otel_dns.__file__).parent.parent)
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{source}{os.pathsep}{before}" if before else source}
