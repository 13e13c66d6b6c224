"""Attributes: cut out and decoded, each once as long as it comes again, and encoded."""

import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from otel_dns.wire import MalformedError
from otel_dns.wire.otlp.protobuf import varint
from otel_dns.wire.otlp.schema import WITH_ATTRIBUTES

AttributeValue: TypeAlias = str | bool | int | float | bytes | tuple[Any, ...] | None

_MAX_DEPTH: Final = 4
_MAX_REMEMBERED: Final = 1024
"""Bytes of an attribute, and letters of a word, that is remembered."""

_Key = TypeVar("_Key", str, bytes)
_Value = TypeVar("_Value")


class _Memory(dict[_Key, _Value]):
    """Results of a function by its argument; when there are too many all are forgotten.

    Asked in half the time of ``lru_cache``, which puts what is no string into a tuple first.
    """

    def __init__(self, function: Callable[[_Key], _Value], most: int, longest: int) -> None:
        super().__init__()
        self._function: Callable[[_Key], _Value] = function
        self._most, self._longest = most, longest

    def __missing__(self, key: _Key) -> _Value:
        result: _Value = self._function(key)
        if len(key) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self[key] = result
        return result


def cached(
    function: Callable[[_Key], _Value], most: int = 4096, longest: int = 4096
) -> Callable[[_Key], _Value]:
    """Remember so many results of a function, but not of long keys: they would fill the memory."""
    return _Memory(function, most, longest).__getitem__


def attributes_of(raw: bytes, field: int = 9) -> dict[str, AttributeValue]:
    """Decode the attributes of an encoded span.

    Args:
        raw: an encoded message that holds ``repeated KeyValue``.
        field: number of that field: 9 in a span, 1 in a resource.

    Raises:
        MalformedError: broken fields.
    """
    try:
        holder = WITH_ATTRIBUTES[field].FromString(raw)
    except DecodeError as error:
        raise MalformedError(f"no attributes: {error}") from None
    return dict(map(_remembered, holder.attributes[:]))


def attribute_of(raw: bytes) -> tuple[str, AttributeValue]:
    """Decode one attribute.

    Raises:
        MalformedError: broken fields.
    """
    try:
        attribute = KeyValue.FromString(raw)
    except DecodeError as error:
        raise MalformedError(f"not an attribute: {error}") from None
    return sys.intern(attribute.key), _plain(attribute.value)


_remembered: Final = cached(attribute_of, most=1 << 13, longest=_MAX_REMEMBERED)


def _plain(value: AnyValue, depth: int = 0) -> AttributeValue:
    """Decode a value; maps and what lies too deep are given as their bytes."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value" and depth < _MAX_DEPTH:
        return tuple(_plain(each, depth + 1) for each in value.array_value.values)
    plain: Any = getattr(value, kind)
    if kind in {"array_value", "kvlist_value"}:
        plain = plain.SerializeToString()
    return cast("AttributeValue", plain)


def string_attribute(key: str, value: str, field: int = 9) -> bytes:
    """Encode one string attribute as a field of a span (9) or a resource (1)."""
    text = value.encode("utf-8", "replace")
    return _key_value(key, field, b"\x0a" + varint(len(text)) + text)


def word_attribute(key: str, word: str) -> bytes:
    """Encode one string attribute of a span whose values are few: the latest are remembered.

    Of a long one there is no memory, so a sender may name it.
    """
    return _word(key, word) if len(word) <= _MAX_REMEMBERED else string_attribute(key, word)


@lru_cache(maxsize=1 << 12)
def _word(key: str, word: str) -> bytes:
    return string_attribute(key, word)


def hex_attribute(key: str, value: bytes) -> bytes:
    """Encode one string attribute of a span: an id of up to 16 bytes, in hexadecimal."""
    return _hex_prefix(key, len(value)) + value.hex().encode()


@lru_cache(maxsize=64)
def _hex_prefix(key: str, size: int) -> bytes:
    return string_attribute(key, "0" * (2 * size))[: -2 * size or None]


@lru_cache(maxsize=1 << 10)
def double_attribute(key: str, value: float, field: int = 9) -> bytes:
    """Encode one floating-point attribute as a field of a span (9) or a resource (1).

    The latest are remembered: most are one of a few certainties.
    """
    return _key_value(key, field, b"\x21" + struct.pack("<d", value))


@lru_cache(maxsize=1 << 14)
def int_attribute(key: str, value: int, field: int = 9) -> bytes:
    """Encode one integer attribute as a field of a span (9) or a resource (1).

    The latest are remembered: CoreDNS's times are whole microseconds, so they come again and again.
    """
    return _key_value(key, field, b"\x18" + varint(value & 0xFFFF_FFFF_FFFF_FFFF))


def _key_value(key: str, field: int, any_value: bytes) -> bytes:
    encoded_key = _encoded_key(key)
    size = len(encoded_key) + 1 + len(any_value)
    if size <= 0x7F:
        return b"%c%c%b%c%b" % (field << 3 | 2, size, encoded_key, len(any_value), any_value)
    inner = encoded_key + varint(len(any_value)) + any_value
    return bytes((field << 3 | 2,)) + varint(len(inner)) + inner


@cached
def _encoded_key(key: str) -> bytes:
    text = key.encode("utf-8", "replace")
    return b"\x0a" + varint(len(text)) + text + b"\x12"
