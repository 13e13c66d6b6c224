"""The Python of docs/lab.md runs as it stands."""

import contextlib
import io
import re
from pathlib import Path

from tests.support.programs import require


def test_python_blocks() -> None:
    require("coredns")
    text = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    said = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(said):
        for block in blocks:
            exec(block, names)
    assert "192.0.2.80" in said.getvalue()
    assert re.search(r"\d+ spans", said.getvalue())
