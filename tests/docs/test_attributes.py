import ast
import importlib
import pkgutil
import re
from pathlib import Path

import opentelemetry.semconv

from docs.attributes import PAGE, SOURCE, constants, page


def test_the_page_is_made_from_the_module_as_it_is() -> None:
    assert page(SOURCE.read_text()) == PAGE.read_text(), "run `make docs`"


def test_names_are_the_conventions_as_it_says() -> None:
    said = re.compile(r"(?:Semantic conventions|to non-OTLP formats) \((stable|development)\)")
    stable, all_of_them = _published("."), _published("_incubating")
    found = set[str]()
    for _, value, meaning in constants(ast.parse(SOURCE.read_text())):
        if status := said.search(meaning):
            found.add(status[1])
            assert isinstance(value, str)
            assert value in all_of_them
            assert (value in stable) == (status[1] == "stable"), value
    assert found == {"stable", "development"}


def _published(folder: str) -> set[object]:
    (root,) = opentelemetry.semconv.__path__
    names = set[object]()
    for kind in ("attributes", "metrics"):
        package = "." if folder == "." else f".{folder}."
        for module in pkgutil.iter_modules([str(Path(root) / folder / kind)]):
            loaded = importlib.import_module(f"opentelemetry.semconv{package}{kind}.{module.name}")
            names |= {value for name, value in vars(loaded).items() if name.isupper()}
    return {name for name in names if isinstance(name, str)}
