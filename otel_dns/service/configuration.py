"""A configuration file, the environment and options, made into :class:`ServeSettings`.

The later wins: defaults, the file, variables ``OTEL_DNS__SECTION__KEY`` (such as
``OTEL_DNS__JOIN__SETTLE`` and ``OTEL_DNS__OUTPUTS__0__ENDPOINT``; values are YAML), options of the
command line. All are laid over one another as plain data first, so that a mistake is told in the
same way wherever it was made: the key, its value, and what is wanted instead.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from otel_dns.service.quantities import Address, Duration, Network, Size
from otel_dns.service.settings import Section, ServeSettings

ENVIRONMENT_PREFIX: Final = "OTEL_DNS__"
_PATH: Final = re.compile(r"(?s)(.*) - at `\$(.*)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[([0-9]+|\.\.\.)\]")


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
    for name, text in sorted((environment or {}).items()):
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
        raise ConfigurationError(_explain(str(error), data)) from None
    _check_together(settings)
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
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None
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


def _explain(message: str, data: Any) -> str:
    found = _PATH.fullmatch(message)
    said, path = (found[1], found[2]) if found else (message, "")
    shape: Any = ServeSettings
    value: Any = data
    for key, index in _STEP.findall(path):
        if index:
            value = value[int(index)] if index.isdecimal() and isinstance(value, list) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
        shape = _shape_of(shape, key)
    where = path.lstrip(".")
    unknown = _UNKNOWN.fullmatch(said)
    if unknown:
        known = list(getattr(shape, "__struct_fields__", ()))
        close = difflib.get_close_matches(unknown[1], known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"{where + '.' if where else ''}{unknown[1]}: there is no such key; {advice}"
    said = said.replace("Object missing required field", "missing is")
    if value is None or isinstance(value, dict):
        return f"{where or 'the configuration'}: {said}"
    return f"{where}: {value!r:.80} will not do: {said}"


def _shape_of(shape: Any, key: str) -> Any:
    """Return the section under a key, as far as there is one."""
    if not key:
        return shape
    for field in msgspec.structs.fields(shape) if hasattr(shape, "__struct_fields__") else ():
        if field.name == key:
            kinds = (field.type, *getattr(field.type, "__args__", ()))
            return next((kind for kind in kinds if hasattr(kind, "__struct_fields__")), None)
    return None


def _check_together(settings: ServeSettings) -> None:
    """Check what no key alone can tell."""
    if not settings.outputs:
        raise ConfigurationError("outputs: there must be one at least, such as 127.0.0.1:4317")
    labels: set[str] = set()
    for number, output in enumerate(settings.outputs):
        where = f"outputs[{number}]"
        if output.endpoint == settings.receivers.otlp.listen:
            raise ConfigurationError(
                f"{where}.endpoint: {output.endpoint} is where this processor listens itself:"
                " spans would go in circles"
            )
        if output.label in labels:
            raise ConfigurationError(f"{where}.name: {output.label!r} is taken; name it otherwise")
        labels.add(output.label)
        if output.tls and (output.tls.certificate is None) != (output.tls.key is None):
            raise ConfigurationError(f"{where}.tls: certificate and key go together")
        if output.names.show == "hash" and not output.names.hash_key_file:
            raise ConfigurationError(f"{where}.names.hash_key_file: a key is wanted for a hash")
    limits = settings.receivers.limits
    for key, value, least, wanted in (
        ("read", limits.read, 1, "1s"), ("idle", limits.idle, 1, "1s"),
        ("headers", limits.headers, 1024, "1KiB"),
    ):  # fmt: skip
        if value < least:
            raise ConfigurationError(f"receivers.limits.{key}: {wanted} at least is wanted")
    page = settings.page
    if page.listen is not None:
        host = page.listen.rpartition(":")[0].strip("[]")
        if page.listen.startswith("unix:"):
            raise ConfigurationError("page.listen: browsers want HOST:PORT")
        if not page.token_file and host != "localhost" and not _is_loopback(host):
            raise ConfigurationError(
                f"page.token_file: {page.listen} is reachable from elsewhere, so the page wants"
                " tokens; or listen on 127.0.0.1"
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def show(settings: ServeSettings) -> str:
    """Write settings as the YAML that would make them; secrets are in files of their own."""
    plain = msgspec.to_builtins(settings, enc_hook=_plain)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _plain(value: object) -> object:
    if isinstance(value, Duration):
        return float(value)
    return int(value) if isinstance(value, Size) else str(value)
