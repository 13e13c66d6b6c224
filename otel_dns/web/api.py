"""The JSON API: one path for each question, read-only, every answer within the asker's scope."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request

import otel_dns
from otel_dns.history.files import HOUR_NS
from otel_dns.history.history import BusyError, History
from otel_dns.history.where import Where
from otel_dns.web import labels, shapes
from otel_dns.web.access import Scope
from otel_dns.web.advice import advice as advise
from otel_dns.web.answering import Answers, turned_away
from otel_dns.web.asked import SECOND, Asked, Window, filters_of
from otel_dns.web.lists import Order
from otel_dns.web.lists import facets as facets_of
from otel_dns.web.lists import lookups as lookups_of
from otel_dns.web.live import Live
from otel_dns.web.overview import course
from otel_dns.web.pods import By, PodOrder
from otel_dns.web.pods import pods as pods_of
from otel_dns.web.scope import ScopeOf
from otel_dns.web.settings import PageSettings
from otel_dns.web.state import state as state_of
from otel_dns.web.subjects import comparison as compare
from otel_dns.web.subjects import latency as latency_of
from otel_dns.web.subjects import servers as servers_of
from otel_dns.web.whole import whole

T = TypeVar("T")

_LONGEST_TEXT: Final = 1024
_LONGEST_S: Final = 400 * 86_400
_ENDED_S: Final = 900
"""A history without a service is over when it has had no lookup for so long."""

Text = Annotated[str | None, Query(max_length=_LONGEST_TEXT)]
Milliseconds = Annotated[float | None, Query(ge=0, le=1e9)]


def _asked(  # noqa: PLR0917 FastAPI gives them by name
    scope: ScopeOf,
    from_: Annotated[
        float, Query(alias="from", description="Seconds since the epoch.", ge=0, le=1e11)
    ],
    to: Annotated[float, Query(description="Seconds since the epoch; not in it.", ge=0, le=1e11)],
    namespace: Text = None,
    pod: Text = None,
    node: Text = None,
    service: Text = None,
    name: Annotated[Text, Query(description="A part of the name, in any case.")] = None,
    type: Text = None,  # noqa: A002 the parameter's name in the address
    outcome: Text = None,
    bottleneck: Text = None,
    plugin: Text = None,
    upstream: Annotated[Text, Query(description="`address` or `address:port`.")] = None,
    server: Text = None,
    method: Text = None,
    certainty: Text = None,
    min_ms: Milliseconds = None,
    max_ms: Milliseconds = None,
) -> Asked:
    if not 0 < to - from_ <= _LONGEST_S:
        raise HTTPException(422, "`to` must come after `from`, by 400 days at most")
    filters = filters_of(
        {
            "namespace": namespace, "pod": pod, "node": node, "service": service, "name": name,
            "type": type, "outcome": outcome, "bottleneck": bottleneck, "plugin": plugin,
            "upstream": upstream, "server": server, "method": method, "certainty": certainty,
            "min_ms": min_ms, "max_ms": max_ms,
        }
    )  # fmt: skip
    window = Window(round(from_ * SECOND), round(to * SECOND)).rounded()
    return Asked(window, scope, filters)


AskedOf = Annotated[Asked, Depends(_asked)]
router = APIRouter(prefix="/api/v1")


def _live(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


def _settings(request: Request) -> PageSettings:
    settings: PageSettings = request.app.state.settings
    return settings


def _answers(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers


def _answer(request: Request, asked: Asked | Scope, make: Callable[[History], T], *more: Any) -> T:
    history: History = request.app.state.history
    try:
        return _answers(request).once(
            (request.url.path, asked, *more), lambda: make(history), _keep_s(asked)
        )
    except BusyError as error:
        raise turned_away(error) from None


def _keep_s(asked: Asked | Scope) -> float:
    """How long an answer is good: no longer than a third of a column of its chart."""
    return asked.window.step_s / 3 if isinstance(asked, Asked) else 0


@router.get("/about")
def about(request: Request, scope: ScopeOf) -> shapes.About:
    """What there is to ask about."""
    live = _live(request)

    def make(history: History) -> shapes.About:
        mine = Where(namespaces=scope.namespaces)
        whole = _answers(request).once(("extent", scope), lambda: history.extent(mine), 60.0)
        # The end moves on, and is found in the last hours' files.
        last_hours = (time.time_ns() // HOUR_NS - 1) * HOUR_NS
        recent = history.extent(replace(mine, since_ns=last_hours))
        last = whole.last_at if recent.last_at is None else recent.last_at
        first = recent.first_at if whole.first_at is None else whole.first_at
        return shapes.About(
            version=otel_dns.__version__,
            first_us=None if first is None else first // 1000,
            last_us=None if last is None else last // 1000,
            ended=last is not None
            and time.time() - last / SECOND > _ENDED_S
            and live.figures() is None,
            lookups=whole.lookups,
            live=live.configured and scope.everything,
            jaeger=bool(_settings(request).jaeger_url),
            namespaces=None if scope.namespaces is None else sorted(scope.namespaces),
            segments=[shapes.Named(name=name, label=label) for name, label in labels.SEGMENTS],
            certainties=[
                shapes.Named(name=name, label=label) for name, label in labels.CERTAINTIES
            ],
            labels={**dict(labels.SEGMENTS), **labels.OUTCOMES},
            problems=_problems(history) if scope.everything else [],
        )

    return _answer(request, scope, make)


def _problems(history: History) -> list[str]:
    if not history.directory.is_dir():
        return [f"there is no history at {history.directory}, or none yet"]
    return [f"{path.name} is left out: {why}" for path, why in sorted(history.damaged.items())]


@router.get("/state")
def state(request: Request, asked: AskedOf) -> shapes.State:
    """Is DNS healthy, how much of it is seen, who suffers, since when, what changed."""
    return _answer(request, asked, lambda history: state_of(history, asked, _live(request)))


@router.get("/overview")
def overview(request: Request, asked: AskedOf) -> shapes.Course:
    """Rate, failures, percentiles, where the time went, how sure the joins are; over time."""
    return _answer(request, asked, lambda history: course(history, asked))


@router.get("/lookups")
def lookups(
    request: Request,
    asked: AskedOf,
    order: Order = "slowest",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> shapes.Lookups:
    """Lookups that match all filters."""
    return _answer(
        request,
        asked,
        lambda history: lookups_of(history, asked, order, limit, offset),
        order,
        limit,
        offset,
    )


@router.get("/facets")
def facets(request: Request, asked: AskedOf) -> shapes.Facets:
    """The most frequent values by which lookups can be narrowed down."""
    return _answer(request, asked, lambda history: facets_of(history, asked))


@router.get("/lookups/{trace_id}/{span_id}")
def lookup(
    request: Request,
    scope: ScopeOf,
    trace_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")],
    span_id: Annotated[str, Path(pattern="^[0-9a-f]{16}$")],
) -> shapes.LookupWhole:
    """One lookup with all that is known of it."""
    jaeger = _settings(request).jaeger_url
    found = _answer(
        request,
        scope,
        lambda history: whole(history, scope, trace_id, span_id, jaeger),
    )
    if found is None:
        raise HTTPException(404, "the history has no such lookup (any more)")
    return found


@router.get("/servers")
def servers(request: Request, asked: AskedOf) -> shapes.Servers:
    """Servers, plugins and upstreams, the slowest first."""
    return _answer(request, asked, lambda history: servers_of(history, asked))


Subject = Annotated[
    str,
    Query(
        description="`server:NAME`, `plugin:NAME` or `upstream:ADDRESS`.",
        pattern="^(server|plugin|upstream):",
        max_length=_LONGEST_TEXT,
    ),
]
Versus = Annotated[
    str,
    Query(
        description="Another subject, or `before`: the same in the time before.",
        pattern="^((server|plugin|upstream):|before$)",
        max_length=_LONGEST_TEXT,
    ),
]


@router.get("/latency")
def latency(request: Request, asked: AskedOf, of: Subject) -> shapes.Latency:
    """How long one server, plugin or upstream took, over time."""
    return _answer(request, asked, lambda history: latency_of(history, asked, of), of)


@router.get("/comparison")
def comparison(
    request: Request, asked: AskedOf, of: Subject, versus: Versus = "before"
) -> shapes.Comparison:
    """Two subjects in one time, or one in two times."""
    return _answer(request, asked, lambda history: compare(history, asked, of, versus), of, versus)


@router.get("/pods")
def pods(
    request: Request, asked: AskedOf, by: By = "pod", order: PodOrder = "suffering"
) -> shapes.Pods:
    """Pods, nodes or namespaces: who suffers, who is noisy."""
    return _answer(request, asked, lambda history: pods_of(history, asked, by, order), by, order)


@router.get("/advice")
def advice(request: Request, asked: AskedOf) -> shapes.Advised:
    """What a change of ndots, or a trailing dot, would save."""
    return _answer(request, asked, lambda history: advise(history, asked))


@router.get("/live")
def live(request: Request, scope: ScopeOf) -> shapes.LiveFigures:
    """The running service, at this moment; nothing for a token that is bound to namespaces."""
    figures = (_live(request).figures() if scope.everything else None) or {}
    return shapes.LiveFigures(
        waiting_lookups=round(figures["waiting_lookups"]) if "waiting_lookups" in figures else None,
        waiting_server_spans=round(figures["waiting_server_spans"])
        if "waiting_server_spans" in figures
        else None,
        figures=figures,
    )
