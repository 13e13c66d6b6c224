"""Writes docs/attributes.md, made from otel_dns/semconv.py: `make docs`."""

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "otel_dns" / "semconv.py"
PAGE = Path(__file__).with_suffix(".md")
VALUES = re.compile("(METHOD|CERTAINTY|OUTCOME)_|CACHE_(HIT|MISS)$")
HEADING = re.compile(r"^# -- (.+?) -+$", re.MULTILINE)


def page(source: str) -> str:
    """Make the page of a semconv module's text."""
    headings = [
        (source.count("\n", 0, match.start()) + 1, match[1]) for match in HEADING.finditer(source)
    ]
    module = ast.parse(source)
    lines = [
        "# Spans, attributes and metrics",
        "",
        "Made from `otel_dns/semconv.py` by `make docs`.",
        "",
        (ast.get_docstring(module) or "").partition("\n\n")[2],
    ]
    for name, value, meaning in constants(module):
        while headings and headings[0][0] < name.lineno:
            title = headings.pop(0)[1]
            lines += [
                "",
                f"## {title[0].upper()}{title[1:]}",
                "",
                "| name | meaning |",
                "|---|---|",
            ]
        # What has no text of its own is told of where it is a value.
        if meaning and isinstance(value, str) and not VALUES.match(name.target.id):
            cell = " ".join(meaning.split()).replace("|", "\\|").replace("``", "`")
            lines.append(f"| `{value}` | {cell} |")
    return "\n".join(lines) + "\n"


def constants(module: ast.Module) -> list[tuple[ast.AnnAssign, object, str]]:
    """Find the constants, each with its value and the text below it."""
    found = []
    for statement, after in zip(module.body, [*module.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(
            statement.value, ast.Constant
        ):
            continue
        meaning = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            meaning = str(after.value.value)
        found.append((statement, statement.value.value, meaning))
    return found


if __name__ == "__main__":
    PAGE.write_text(page(SOURCE.read_text()))
