"""What the service holds, and what becomes of it."""

import gc

import pytest

from bench import core


@pytest.mark.parametrize("lookups", [True, False], ids=["joined", "unmatched"])
def test_what_leaves_is_freed_without_a_search_for_cycles(lookups: bool) -> None:
    """The service lets Python search seldom (``collect_seldom``): nothing may wait for it."""
    requests = core.requests(100, lookups=lookups)
    core.Core().run(requests)  # what is made once is made now
    pipeline = core.Core()
    gc.collect()
    gc.disable()
    try:
        pipeline.run(requests)
        assert gc.collect() < 50  # of objects by the thousand
    finally:
        gc.enable()
