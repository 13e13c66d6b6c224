"""error.type for what socket functions raise."""

import socket
from typing import Final

from otel_dns import semconv
from otel_dns.client.details import Outcome

_BY_EAI_NAME: Final = {
    "EAI_NONAME": semconv.ERROR_HOST_NOT_FOUND,
    "EAI_NODATA": semconv.ERROR_NO_DATA,
    "EAI_AGAIN": semconv.ERROR_TRY_AGAIN,
    "EAI_FAIL": semconv.ERROR_NO_RECOVERY,
    "EAI_FAMILY": semconv.ERROR_FAMILY,
    "EAI_ADDRFAMILY": semconv.ERROR_FAMILY,
}
# Which of them exist, and their numbers, is the platform's affair.
_BY_EAI: Final = {
    getattr(socket, name): error_type
    for name, error_type in _BY_EAI_NAME.items()
    if hasattr(socket, name)
}
_BY_H_ERRNO: Final = {
    1: semconv.ERROR_HOST_NOT_FOUND,
    2: semconv.ERROR_TRY_AGAIN,
    3: semconv.ERROR_NO_RECOVERY,
    4: semconv.ERROR_NO_DATA,
}
"""netdb.h; the socket module has no names for them."""


def class_name(error: BaseException) -> str:
    """Return the full name of an exception's class, without module for Python's own.

    Args:
        error: The exception.
    """
    cls = type(error)
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def socket_error(error: BaseException) -> Outcome:
    """Return the outcome of a socket function's lookup that raised.

    Args:
        error: What it raised.
    """
    error_type = None
    if isinstance(error, socket.gaierror):
        error_type = _BY_EAI.get(error.errno)
    elif isinstance(error, socket.herror):
        error_type = _BY_H_ERRNO.get(error.errno or 0)
    return Outcome(error_type=error_type or class_name(error))
