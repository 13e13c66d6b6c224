"""Inputs that once broke a decoder (``python -m bench.fuzz`` finds and keeps them)."""

import contextlib

import pytest

from bench.fuzz import DECODERS, FOUND, SAID


@pytest.mark.parametrize("path", sorted(FOUND.iterdir()), ids=lambda path: path.name)
def test_what_was_found_is_mended(path) -> None:
    decoder = DECODERS[path.name.partition("-")[0]]
    with contextlib.suppress(*SAID):
        decoder(path.read_bytes())
