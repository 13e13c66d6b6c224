"""Real programs for tests: there, or the test is skipped and says how to get them."""

from pathlib import Path

import pytest

from otel_dns.lab.programs import ProgramMissing, find


def require(name: str) -> Path:
    """The path of a real program; skips the test where it is missing."""
    try:
        return find(name)
    except ProgramMissing:
        pytest.skip(f"program missing: {name} (run: otel-dns programs get {name})")
