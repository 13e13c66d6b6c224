"""Fixtures for tests that want a lab.

In a ``conftest.py`` of theirs::

    from otel_dns.lab.pytest_plugin import lab, lab_reason  # noqa: F401

Logs and configuration stay in the test's ``tmp_path / "lab"``, so that they outlive a failure.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_dns.lab.lab import Lab
from otel_dns.lab.launch import available


@pytest.fixture(scope="session")
def lab_reason() -> str | None:
    """Why this machine gives no lab; ``None`` if it does."""
    return available()


@pytest.fixture
def lab(lab_reason: str | None, tmp_path: Path) -> Iterator[Lab]:
    """A fresh, empty lab; the test is skipped where there is none to be had."""
    if lab_reason is not None:
        pytest.skip(f"no lab: {lab_reason}")
    with Lab(directory=tmp_path / "lab") as made:
        yield made
