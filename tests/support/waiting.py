"""Waiting for what will happen, with a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str, within: float = 180.0) -> T:
    """The condition's first true value; fails with ``what`` when there is none in time.

    The bound is for what never comes: on a busy machine what takes a second may take twenty.
    """
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.02)
    return value
