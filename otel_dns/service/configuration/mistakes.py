"""What is said of a configuration that cannot be: the key, its value, and what would do."""

import ipaddress
import re
import reprlib
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from otel_dns.service.configuration.settings import Output, Page, Receivers, ServeSettings

_PATH: Final = re.compile(r"(?s)(.*) - at `(key` in `)?\$(.*)`")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[([0-9]+|\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`")
_MISSING: Final = re.compile(r"Object missing required field (`.*`)")
_EXPECTED: Final = re.compile(r"Expected `([a-z]+)( \| null)?`(?: (?:of length )?([<>])= (\d+))?.*")
_PLAIN: Final = {"str": "text", "int": "a whole number", "bool": "true or false"}
_HEADER: Final = re.compile(r"[0-9A-Za-z_.-]+")
_ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - not to listen
_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def explained(message: str, data: object) -> str:
    """Say what msgspec's message means.

    Args:
        message: of its ``ValidationError``.
        data: what it did not take for settings.
    """
    found = _PATH.fullmatch(message)
    said, of_key, path = found.groups() if found else (message, None, "")
    kind: Any = ServeSettings
    value: Any = data
    for key, index in _STEP.findall(path):
        if index:
            value = value[int(index)] if index.isdecimal() and isinstance(value, list) else ...
            kind = next(iter(get_args(kind)), None)
        else:
            value = value.get(key) if isinstance(value, dict) else ...
            kind = _fields(kind).get(key)
    where = path.lstrip(".") or "the configuration"
    if of_key:
        return f"{where}: keys are text; put quotes around numbers, dates, yes, no, on and off"
    if unknown := _UNKNOWN.fullmatch(said):
        close = get_close_matches(unknown[1], _fields(kind), n=1)
        advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(_fields(kind))}"
        return f"{path.lstrip('.')}.{unknown[1]}: there is no such key; {advice}".lstrip(".")
    if missing := _MISSING.fullmatch(said):
        return f"{where}: missing is {missing[1]}"
    wanted = _wanted(said, kind, value)
    return (
        f"{where}: {wanted}" if value is ... else f"{where}: {_shown(value)} will not do: {wanted}"
    )


def _fields(kind: Any) -> dict[str, Any]:
    """Give the types of a section's keys, of one that may be null too; none of what is none."""
    for one in (kind, *get_args(kind)):
        if hasattr(one, "__struct_fields__"):
            return {field.name: field.type for field in msgspec.structs.fields(one)}
    return {}


def _wanted(said: str, kind: Any, value: object) -> str:
    for one in (kind, *get_args(kind)):
        if get_origin(one) is Literal:
            return f"one of {', '.join(get_args(one))} is wanted"
    expected = _EXPECTED.fullmatch(said)
    if expected is None:
        return said  # by a quantity, which says it well
    name, or_null, which, bound = expected.groups()
    wanted, hint = f"{_PLAIN.get(name, name)} is wanted", ""
    if name == "object":
        keys = ", ".join(_fields(kind))
        wanted = f"keys are wanted: {keys}" if keys else "keys with values are wanted"
    elif name == "array":
        wanted = "a list is wanted"
        if isinstance(value, str) and not _fields(next(iter(get_args(kind)), None)):
            hint = f", such as [{_shown(value)}]"
    elif name == "str" and bound:
        wanted = "it must not be empty"
    elif name == "str" and not (value is None or isinstance(value, (str, list, dict))):
        hint = "; put it in quotes"
    elif bound:
        wanted += f", {bound} or {'more' if which == '>' else 'less'}"
    return wanted + (", or null" if or_null else "") + hint


def _shown(value: object) -> str:
    return {True: "true", False: "false", None: "null"}[value] if (
        value is None or isinstance(value, bool)
    ) else _SHORT.repr(value)  # fmt: skip


def found_in(settings: ServeSettings) -> Iterator[str]:
    """Find what no key alone can tell."""
    yield from _in_receivers(settings.receivers)
    yield from _listened_on_twice(settings)
    if not settings.outputs:
        yield "outputs: there must be one at least, such as 127.0.0.1:4317"
    labels: set[str] = set()
    for number, output in enumerate(settings.outputs):
        where = f"outputs[{number}]"
        if _reaches(output.endpoint, settings.receivers.otlp.listen):
            yield (
                f"{where}.endpoint: {output.endpoint} is where this processor listens itself:"
                " spans would go in circles"
            )
        if output.label in labels:
            yield f"{where}.name: {output.label!r} is taken; name it otherwise"
        labels.add(output.label)
        yield from _in_output(output, where)
    yield from _in_page(settings.page)
    yield from _too_little(
        ("metrics.interval", settings.metrics.interval, 1, "1s"),
        ("memory_limit", settings.memory_limit, 16 << 20, "16MiB"),
    )


def _in_receivers(receivers: Receivers) -> Iterator[str]:
    http, dnstap, limits = receivers.http, receivers.dnstap, receivers.limits
    if http.listen.startswith("unix:"):
        yield "receivers.http.listen: HOST:PORT is wanted, not a Unix socket"
    secured = [address for address in dnstap.listen if address.startswith("tls:")]
    if secured and dnstap.tls is None:
        yield f"receivers.dnstap.tls: {secured[0]} wants a certificate and its key"
    yield from _too_little(
        ("receivers.limits.read", limits.read, 1, "1s"),
        ("receivers.limits.idle", limits.idle, 1, "1s"),
        ("receivers.limits.headers", limits.headers, 1 << 10, "1KiB"),
        ("receivers.otlp.max_request", receivers.otlp.max_request, 1 << 10, "1KiB"),
        ("receivers.http.max_request", http.max_request, 1 << 10, "1KiB"),
    )


def _listened_on_twice(settings: ServeSettings) -> Iterator[str]:
    receivers = settings.receivers
    taken: dict[str, str] = {}
    for key, address in (
        ("receivers.otlp.listen", receivers.otlp.listen),
        ("receivers.http.listen", receivers.http.listen),
        *(
            (f"receivers.dnstap.listen[{number}]", one.removeprefix("tls:"))
            for number, one in enumerate(receivers.dnstap.listen)
        ),
        ("page.listen", settings.page.listen or ""),
    ):
        other = taken.setdefault(address, key)
        if other is not key and not address.endswith(":0"):
            yield f"{key}: {address} is taken by {other}"


def _in_output(output: Output, where: str) -> Iterator[str]:
    if output.tls and (output.tls.certificate is None) != (output.tls.key is None):
        yield f"{where}.tls: certificate and key go together"
    if output.names.show == "hash" and not output.names.hash_key_file:
        yield f"{where}.names.hash_key_file: a key is wanted for a hash"
    for header, value in output.headers.items():
        if not _HEADER.fullmatch(header) or header.lower().startswith("grpc-"):
            yield f"{where}.headers: {header!r} is no name that gRPC takes, such as x-tenant"
        if header.lower().endswith("-bin") or not (value.isascii() and value.isprintable()):
            yield f"{where}.headers.{header}: one line of visible ASCII is wanted"
    yield from _too_little((f"{where}.timeout", output.timeout, 0.1, "100ms"))


def _in_page(page: Page) -> Iterator[str]:
    if page.jaeger is not None and urlsplit(page.jaeger).scheme not in {"http", "https"}:
        yield f"page.jaeger: {page.jaeger!r} will not do: a URL is wanted, as http://jaeger:16686"
    if page.listen is None:
        return
    host = _host(page.listen)
    if page.listen.startswith("unix:"):
        yield "page.listen: browsers want HOST:PORT"
    elif not page.token_file and not _is_loopback(host):
        yield (
            f"page.token_file: {page.listen} is reachable from elsewhere, so the page wants"
            " tokens; or listen on 127.0.0.1"
        )
    elif host != "localhost" and _address(host) is None:
        yield f"page.listen: {page.listen!r} will not do: an address is wanted, as 127.0.0.1:8053"


def _too_little(*least: tuple[str, float | None, float, str]) -> Iterator[str]:
    for key, value, wanted, written in least:
        if value is not None and value < wanted:
            yield f"{key}: {value:.12g} will not do: {written} at least is wanted"


def _reaches(endpoint: str, listen: str) -> bool:
    """Whether who sends to an endpoint sends to what listens in this very process."""
    if endpoint == listen:
        return True
    if endpoint.startswith("unix:") or listen.startswith("unix:"):
        return False
    here = (_host(listen) in _ANYWHERE or _is_loopback(_host(listen))) and (
        _host(endpoint) in _ANYWHERE or _is_loopback(_host(endpoint))
    )
    return here and endpoint.rpartition(":")[2] == listen.rpartition(":")[2] != "0"


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
