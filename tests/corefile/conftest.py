"""A lab for the recommended Corefiles."""

from collections.abc import Iterator

import pytest

from otel_dns.lab import Lab, available
from tests.support.programs import require


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One lab for a module, with the server outside."""
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    require("coredns")
    with Lab() as made:
        made.upstream_dns()
        yield made
