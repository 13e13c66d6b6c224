"""A configuration file, the environment and options, made into :class:`ServeSettings`.

The later wins: defaults, the file, variables ``OTEL_DNS__SECTION__KEY`` (such as
``OTEL_DNS__JOIN__SETTLE`` and ``OTEL_DNS__OUTPUTS__0__ENDPOINT``; values are YAML), options of the
command line. All are laid over one another as plain data first, so that a mistake is told in the
same way wherever it was made: the key, its value, and what is wanted instead.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from otel_dns.service.configuration import mistakes
from otel_dns.service.configuration.quantities import Address, Duration, Network, Size
from otel_dns.service.configuration.settings import Section, ServeSettings

ENVIRONMENT_PREFIX: Final = "OTEL_DNS__"
_LARGEST: Final = 1 << 20
"""Bytes of a file: what is larger is no configuration."""


class ConfigurationError(ValueError):
    """A configuration that cannot be; the message names the key, the value and the fix."""


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Iterable[tuple[str, Any]] = (),
) -> ServeSettings:
    """Make settings.

    Args:
        file: YAML; without it, defaults.
        environment: variables, of which those with the prefix count.
        options: dotted keys and their values, which win over all else.

    Raises:
        ConfigurationError: the file cannot be read, or says what cannot be.
    """
    data = _read(file) if file is not None else {}
    # A section of which nothing is said (`outputs:`), as templates leave them, is as by default.
    data = {section: said for section, said in data.items() if said is not None}
    for name, text in sorted((environment or {}).items(), key=_in_order):
        if name.startswith(ENVIRONMENT_PREFIX):
            steps = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            _put(data, steps, _yaml(text, f"the variable {name}"), f"the variable {name}")
    for key, value in options:
        _put(data, key.split("."), value, key)
    return convert(data)


def convert(data: Mapping[str, Any]) -> ServeSettings:
    """Make settings of plain data, strictly.

    Raises:
        ConfigurationError: a key is unknown, or a value is not what the key takes.
    """
    try:
        settings = msgspec.convert(data, ServeSettings, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigurationError(mistakes.explained(str(error), data)) from None
    mistake = next(mistakes.found_in(settings), None)
    if mistake is not None:
        raise ConfigurationError(mistake)
    return settings


def changed(old: Section, new: Section, at: str = "") -> list[str]:
    """Return the keys under which settings differ, dotted; of lists, the list's."""
    keys = []
    for field in msgspec.structs.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if isinstance(before, Section) and isinstance(after, Section):
            keys += changed(before, after, f"{at}{field.name}.")
        elif before != after:
            keys.append(f"{at}{field.name}")
    return keys


def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, which lets editors complete and check it."""
    made = msgspec.json.schema(ServeSettings, schema_hook=_schema)
    sections: list[type[Section]] = [ServeSettings, *Section.__subclasses__()]
    for section in sections:
        properties = made["$defs"][section.__name__]["properties"]
        for field in msgspec.structs.fields(section):
            if field.default_factory is not msgspec.NODEFAULT:
                default = msgspec.to_builtins(field.default_factory(), enc_hook=_plain)
                properties[field.name]["default"] = default
    return made | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "otel-dns serve",
    }


def _decode(wanted: type, value: object) -> object:
    if issubclass(wanted, (Duration, Size, Address, Network)):
        return wanted.parse(value)
    raise NotImplementedError(wanted)


def _schema(wanted: type) -> dict[str, Any]:
    found: dict[str, Any] = wanted.SCHEMA  # type: ignore[attr-defined]
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    if len(raw) > _LARGEST:
        raise ConfigurationError(f"{file} is larger than 1 MiB: that is no configuration")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}, line {line}: text is wanted in UTF-8") from None
    data = _yaml(text, str(file))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigurationError(f"{file} must hold sections such as `outputs:`, not {data!r:.60}")
    return data


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, RecursionError) as error:
        said = str(error).replace('in "<unicode string>", ', "")
        raise ConfigurationError(f"{where} is no YAML: {said}") from None


class _Loader(yaml.SafeLoader):
    """YAML without keys that are given twice, of which PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value} is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _in_order(variable: tuple[str, str]) -> list[tuple[int, str]]:
    """Sort variables by this: places of a list by their number, as each needs those before it."""
    steps = variable[0].split("__")
    return [(int(step), "") if step.isdecimal() else (-1, step) for step in steps]


def _put(data: Any, steps: list[str], value: Any, where: str) -> None:
    """Set a value deep in plain data, making what is missing on the way."""
    *way, last = steps
    for step, after in zip(way, steps[1:], strict=True):
        data = _enter(data, step, [] if after.isdecimal() else {}, where)
    if isinstance(data, list):
        index = _index(data, last, where)
        data[index : index + 1] = [value]
    elif isinstance(data, dict):
        data[last] = value
    else:
        raise ConfigurationError(f"{where}: {data!r:.60} has no keys")


def _enter(data: Any, step: str, empty: Any, where: str) -> Any:
    if isinstance(data, list):
        index = _index(data, step, where)
        if index == len(data):
            data.append(empty)
        return data[index]
    if isinstance(data, dict):
        if data.get(step) is None:
            data[step] = empty
        return data[step]
    raise ConfigurationError(f"{where}: {data!r:.60} has no keys")


def _index(data: list[Any], step: str, where: str) -> int:
    if not step.isdecimal() or int(step) > len(data):
        raise ConfigurationError(f"{where}: a place in a list is wanted, 0 to {len(data)}")
    return int(step)


def show(settings: ServeSettings) -> str:
    """Write settings as the YAML that would make them; secrets are in files of their own."""
    plain = msgspec.to_builtins(settings, enc_hook=_plain)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _plain(value: object) -> object:
    if isinstance(value, Duration):
        return float(value)
    return int(value) if isinstance(value, Size) else str(value)
