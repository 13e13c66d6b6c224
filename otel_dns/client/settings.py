"""What an application may set about its lookups' recording: by argument or by environment."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from opentelemetry.trace import Span

from otel_dns import semconv
from otel_dns.client.details import Lookup, Outcome
from otel_dns.client.names_bound import Reduce, reduction
from otel_dns.client.say_once import say_once
from otel_dns.names import normalise

MAX_NAMES_VARIABLE: Final = "OTEL_DNS_CLIENT_MAX_METRIC_NAMES"
METRIC_NAMES_VARIABLE: Final = "OTEL_DNS_CLIENT_METRIC_NAMES"
REQUIRE_PARENT_VARIABLE: Final = "OTEL_DNS_CLIENT_REQUIRE_PARENT"
EXCLUDED_NAMES_VARIABLE: Final = "OTEL_DNS_CLIENT_EXCLUDED_NAMES"
FAST_PATH_VARIABLE: Final = "OTEL_DNS_CLIENT_FAST_PATH"
MARKS_VARIABLE: Final = "OTEL_DNS_CLIENT_MARKS"
UNSAMPLED_VARIABLE: Final = "OTEL_DNS_CLIENT_UNSAMPLED_RECORDS"
DEFAULT_MAX_NAMES: Final = 100

RequestHook = Callable[[Span, Lookup], object]
ResponseHook = Callable[[Span, Lookup, Outcome], object]

_WORDS: Final = {"true": True, "1": True, "false": False, "0": False}
_PARSED: Final = ("metric_names", "marks")
"""What is a word as an option too."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How lookups are recorded."""

    max_metric_names: int = DEFAULT_MAX_NAMES
    """How many distinct names the metric may carry; all others are counted under one value."""
    metric_names: Reduce | None = None
    """Makes of a name what the metric shows of it; nothing if it shows the name."""
    require_parent: bool = False
    """No span for a lookup outside of any other span. It is measured all the same."""
    excluded: Callable[[str], bool] | None = None
    """Tells which names are neither recorded nor measured; nothing if there are none."""
    request_hook: RequestHook | None = None
    """Called with a recording span before the lookup is made."""
    response_hook: ResponseHook | None = None
    """Called with a recording span after the lookup was made, before the span ends."""
    fast_path: bool = True
    """Whether spans and measurements may be made past OpenTelemetry's public API."""
    marks: frozenset[str] = frozenset()
    """What queries of sampled lookups carry on the wire: of ``semconv.MARKS``."""
    unsampled_records: bool = False
    """Whether compact records tell the processor of lookups that are not sampled."""

    @classmethod
    def read(
        cls, options: Mapping[str, Any], environ: Mapping[str, str] = os.environ
    ) -> "Settings":
        """Take each setting from the options, else from the environment, else the default.

        Args:
            options: ``max_metric_names``, ``metric_names``, ``require_parent``, ``excluded_names``,
                ``request_hook``, ``response_hook``, ``fast_path``, ``marks``,
                ``unsampled_records``; None is as if not given.
            environ: Where the environment variables are looked up.
        """

        def setting(name: str, variable: str, parse: Callable[[str], Any], default: Any) -> Any:
            value = options.get(name)
            if value is not None:
                return parse(value) if name in _PARSED else value
            text = environ.get(variable, "").strip()
            if not text:
                return default
            try:
                return parse(text)
            except ValueError as error:
                say_once(f"{variable}={text!r} is passed over: {error}.")
                return default

        names = setting("excluded_names", EXCLUDED_NAMES_VARIABLE, lambda text: text.split(","), ())
        return cls(
            setting("max_metric_names", MAX_NAMES_VARIABLE, _number, DEFAULT_MAX_NAMES),
            setting("metric_names", METRIC_NAMES_VARIABLE, reduction, None),
            setting("require_parent", REQUIRE_PARENT_VARIABLE, _yes_or_no, False),
            exclusion([names] if isinstance(names, str) else names),
            options.get("request_hook"),
            options.get("response_hook"),
            setting("fast_path", FAST_PATH_VARIABLE, _yes_or_no, True),
            setting("marks", MARKS_VARIABLE, _marks, frozenset()),
            setting("unsampled_records", UNSAMPLED_VARIABLE, _yes_or_no, False),
        )


def exclusion(names: Iterable[str]) -> Callable[[str], bool] | None:
    """Return what tells whether a name is left out, or nothing if none is.

    Args:
        names: Names as the application asks for them, in any letter case; one with a dot in front
            stands for all names that end so.
    """
    given = [name.strip() for name in names if name.strip()]
    exact = {normalise(name) for name in given if not name.startswith(".")}
    suffixes = tuple(normalise(name) for name in given if name.startswith("."))
    if not given:
        return None

    @lru_cache(maxsize=1024)
    def excluded(name: str) -> bool:
        normal = normalise(name)
        return normal in exact or normal.endswith(suffixes)

    return excluded


def _marks(given: str | Iterable[str]) -> frozenset[str]:
    words = given.split(",") if isinstance(given, str) else given
    marks = frozenset(word.strip().lower() for word in words) - {""}
    unknown = marks - set(semconv.MARKS)
    if unknown:
        raise ValueError(
            f"marks are of {', '.join(semconv.MARKS)}, not {', '.join(sorted(unknown))}"
        )
    return marks


def _yes_or_no(text: str) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError("it is true or false") from None


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it is a whole number") from None
