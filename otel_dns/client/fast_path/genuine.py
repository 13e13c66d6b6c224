"""Whether a part of OpenTelemetry is exactly the one that the shortcut was written against."""

import sys
from importlib import import_module
from types import FunctionType
from typing import Final

KNOWN_SDKS: Final = frozenset({"1.45.1", "1.45.2"})
"""Versions of opentelemetry-sdk whose source this was compared with."""


def is_known(candidate: object, module: str, name: str) -> bool:
    """Tell whether an object is exactly of one class of a known SDK. Imports nothing new."""
    cls = type(candidate)
    if cls.__module__ != module or cls.__qualname__ != name:
        return False
    version = import_module("opentelemetry.sdk.version").__version__
    return cls is getattr(sys.modules[module], name) and version in KNOWN_SDKS


def is_genuine(owner: type, names: tuple[str, ...]) -> bool:
    """Tell whether a class's methods are those of its own file, which nobody has replaced."""
    file = sys.modules[owner.__module__].__file__
    methods = [vars(owner).get(name) for name in names]
    return all(type(m) is FunctionType and m.__code__.co_filename == file for m in methods)
