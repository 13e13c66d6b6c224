"""Labs for these tests: as the current user may, and through a user namespace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_dns.lab import Lab, available
from otel_dns.lab.pytest_plugin import lab, lab_reason  # noqa: F401
from tests.support.programs import require


@pytest.fixture(autouse=True, scope="session")
def _lab_or_skip() -> None:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")


@pytest.fixture(params=["plain", "userns"])
def any_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A lab made each way."""
    require("coredns")
    with Lab(userns=request.param == "userns" or None, directory=tmp_path / "lab") as made:
        yield made
