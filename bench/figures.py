"""What a benchmark prints: its figures, one a line, or as one flat JSON object."""

import json
import sys
from collections.abc import Mapping


def show(figures: Mapping[str, object], *, as_json: bool) -> None:
    """Print figures by name."""
    if as_json:
        json.dump(figures, sys.stdout)
        print()
        return
    width = max(map(len, figures), default=0) + 2
    for name, value in figures.items():
        print(f"{name:{width}} {value}")
