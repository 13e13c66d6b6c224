"""What the commands that ask the history have in common: options, periods, and the history."""

import datetime
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from otel_dns import semconv
from otel_dns.cli import ctrl_c
from otel_dns.cli.directories import default_history
from otel_dns.history.columns import DIMENSIONS
from otel_dns.history.where import Where

if TYPE_CHECKING:
    from otel_dns.history.history import History

Command = TypeVar("Command", bound=Callable[..., Any])

_SECOND: Final = 1_000_000_000

if TYPE_CHECKING:
    _Whens = click.ParamType[int | None]
    _Numbers = click.ParamType[int]
else:  # not generic before click 8.4
    _Whens = _Numbers = click.ParamType


class When(_Whens):
    """A time: so long ago (``15m``, ``2d``), or a date (``2026-11-25T10:42``, UTC unless told)."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Give nanoseconds since the epoch; None for ``all``."""
        if isinstance(value, int):
            return value
        if value == "all":
            return None
        from otel_dns.service.configuration.quantities import Duration

        try:
            return time.time_ns() - Duration.parse(value).ns
        except ValueError:
            pass
        try:
            read = datetime.datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no time: so long ago (15m, 2h, 3d), a date (2026-11-25T10:42), or"
                " all", param, ctx,
            )  # fmt: skip
        if read.tzinfo is None:
            read = read.replace(tzinfo=datetime.UTC)
        return round(read.timestamp()) * _SECOND


class Nanoseconds(_Numbers):
    """A duration, as nanoseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read ``500ms``, ``2s``."""
        from otel_dns.service.configuration.quantities import Duration

        try:
            return Duration.parse(value).ns
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _place(value: str | Path) -> Path | str:
    """Where a history is: a directory, or the address of a page that serves one."""
    is_url = isinstance(value, str) and value.startswith(("http://", "https://"))
    return value if is_url else Path(value)


def history_option(command: Command) -> Command:
    """Add ``--history``."""
    return click.option(
        "--history", "place", metavar="DIR|URL", default=default_history, type=_place,
        show_default="where `otel-dns serve` writes it",
        help="Directory of the history, or the address of a running service's page"
        " (http://otel-dns:8053; its token in OTEL_DNS_TOKEN).",
    )(command)  # fmt: skip


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def period_options(since: str = "1h") -> Callable[[Command], Command]:
    """Add ``--since`` and ``--until``."""

    def add(command: Command) -> Command:
        command = click.option(
            "--until", "until_ns", metavar="WHEN", type=When(), help="And before then."
        )(command)
        return click.option(
            "--since", "since_ns", metavar="WHEN", type=When(), default=since, show_default=True,
            help="Lookups since then: so long ago (15m, 2h, 3d), a date in UTC"
            " (2026-11-25T10:42), or all.",
        )(command)  # fmt: skip

    return add


_OUTCOMES: Final = (
    semconv.OUTCOME_OK, semconv.OUTCOME_NOT_FOUND, semconv.OUTCOME_TIMEOUT,
    semconv.OUTCOME_SERVER_FAILURE, semconv.OUTCOME_ERROR,
)  # fmt: skip
_WORDS: Final = {"outcome": _OUTCOMES, "method": semconv.METHODS}
_FILTERS: Final = {
    "namespace": "Only of this one.",
    "pod": "Only of this one.",
    "node": "Only of this one.",
    "service": "Only of this one.",
    "name": "Only of this name, as the application asked for it; * for any characters.",
    "outcome": f"How it ended: {', '.join(_OUTCOMES)}.",
    "bottleneck": "What took most: upstream, stub_network, waiting, plugin:cache, ...",
    "plugin": "A plugin that one of its queries went through.",
    "server": "An instance that answered one of its queries.",
    "upstream": "An upstream of one of its queries: address:port, or the address.",
    "method": f"How it was joined: {', '.join(semconv.METHODS)}.",
    "type": "Of the questions: A+AAAA, MX, ...",
}


def where_options(command: Command) -> Command:
    """Add filters; the command gets them, and the period, as one ``where``."""

    @functools.wraps(command)
    def asked(*args: Any, since_ns: int | None, until_ns: int | None, **options: Any) -> Any:
        filters: dict[str, Any] = {
            key: options.pop(key) or "" for key in (*DIMENSIONS, *_BEYOND) if key in options
        }
        chosen = Where(
            since_ns=since_ns, until_ns=until_ns, failed=options.pop("failed") or None,
            min_ns=options.pop("min_ns"), **filters,
        )  # fmt: skip
        return command(*args, where=chosen, **options)

    wrapped: Any = asked
    wrapped = click.option("--failed", is_flag=True, help="Only those without an answer.")(wrapped)
    wrapped = click.option(
        "--min", "min_ns", metavar="TIME", type=Nanoseconds(), help="Only those that took so long."
    )(wrapped)
    for key, text in reversed(_FILTERS.items()):
        known = _WORDS.get(key)
        wrapped = click.option(
            f"--{key}", metavar="TEXT", help=text, type=click.Choice(known) if known else str
        )(wrapped)
    result: Command = wrapped
    return result


_BEYOND: Final = ("plugin", "server", "upstream")


def asks(command: Command) -> Command:
    """Let a command fail with a message, rather than a traceback, where the history cannot tell."""

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> Any:
        from otel_dns.history.history import HistoryError

        _refuse_no_time(options)
        try:
            with ctrl_c.heard():
                return command(*args, **options)
        except HistoryError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise click.ClickException(why) from None

    result: Command = guarded  # type: ignore[assignment]
    return result


def _refuse_no_time(options: dict[str, Any]) -> None:
    """Say so where a period ends before it begins: a question would find nothing, and not why."""
    where: Where = options.get("where") or Where(
        since_ns=options.get("since_ns"), until_ns=options.get("until_ns")
    )
    since_ns, until_ns = where.since_ns, where.until_ns
    if since_ns is not None and until_ns is not None and until_ns <= since_ns:
        raise click.UsageError("--until is before --since: nothing lies between")


def open_history(place: Path | str, **limits: Any) -> "History":
    """Open a history that must be there: its files, or the service that has it.

    Raises:
        click.ClickException: it is not; the message says what to do.
    """
    from otel_dns.cli.remote import Remote
    from otel_dns.history.history import History

    if isinstance(place, str):
        # All that commands ask; the service has its own limits.
        return cast(History, Remote(place))
    if not place.is_dir():
        raise click.ClickException(
            f"no history in {place}: `otel-dns serve` writes one; another place: --history DIR,"
            " or the address of its page"
        )
    return History(place, **limits)
