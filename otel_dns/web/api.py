"""The JSON API: one path for each question, read-only, every answer within the asker's scope."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

import otel_dns
from otel_dns.web import labels, shapes
from otel_dns.web.access import EVERYTHING, Scope
from otel_dns.web.advice import advice as advise
from otel_dns.web.answering import Answering, BusyError
from otel_dns.web.asked import SECOND, Asked, Window
from otel_dns.web.lists import Order
from otel_dns.web.lists import facets as facets_of
from otel_dns.web.lists import lookups as lookups_of
from otel_dns.web.live import Live
from otel_dns.web.overview import course
from otel_dns.web.pods import By, PodOrder
from otel_dns.web.pods import pods as pods_of
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

_bearer = HTTPBearer(auto_error=False, description="A token of --token-file.")


def _scope(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Scope:
    tokens = request.app.state.tokens
    if tokens is None:
        return EVERYTHING
    scope: Scope | None = tokens.scope_of(given.credentials) if given else None
    if scope is None:
        raise HTTPException(
            401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )
    return scope


ScopeOf = Annotated[Scope, Depends(_scope)]
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
    filters = {
        "namespace": namespace, "pod": pod, "node": node, "service": service, "name": name,
        "type": type, "outcome": outcome, "bottleneck": bottleneck, "plugin": plugin,
        "upstream": upstream, "server": server, "method": method, "certainty": certainty,
        "min_ms": min_ms, "max_ms": max_ms,
    }  # fmt: skip
    return Asked(
        Window(round(from_ * SECOND), round(to * SECOND)),
        scope,
        tuple((key, value) for key, value in filters.items() if value not in {None, ""}),
    )


AskedOf = Annotated[Asked, Depends(_asked)]
router = APIRouter(prefix="/api/v1")


def _live(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


def _settings(request: Request) -> PageSettings:
    settings: PageSettings = request.app.state.settings
    return settings


def _answer(
    request: Request, asked: Asked | Scope, make: Callable[[Answering], T], *more: Any
) -> T:
    answering: Answering = request.app.state.answering
    try:
        return answering.once(
            (request.url.path, asked, *more), lambda: make(answering), _keep_s(asked)
        )
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": "5"}) from None


def _keep_s(asked: Asked | Scope) -> float:
    """How long an answer is good: no longer than a third of a column of its chart."""
    return asked.window.step_s / 3 if isinstance(asked, Asked) else 0


@router.get("/about")
def about(request: Request, scope: ScopeOf) -> shapes.About:
    """What there is to ask about."""
    live = _live(request)

    def make(answering: Answering) -> shapes.About:
        everything = Window(-(1 << 62), 1 << 62)
        whole_s = 60.0

        def bounds(window: Window) -> dict[str, Any]:
            (row,) = answering.rows(
                "SELECT min(start_ns) AS first, max(start_ns) AS last, count(*) AS n FROM lookups",
                Asked(window, scope),
            )
            return row

        row = answering.once(("bounds", scope), lambda: bounds(everything), whole_s)
        # The end moves on, and is found in the last hours' files.
        hour_ns = 3600 * SECOND
        recent = bounds(Window((time.time_ns() // hour_ns - 1) * hour_ns, 1 << 62))
        last = row["last"] if recent["last"] is None else recent["last"]
        first = row["first"] if row["first"] is not None else recent["first"]
        return shapes.About(
            version=otel_dns.__version__,
            first_us=None if first is None else first // 1000,
            last_us=None if last is None else last // 1000,
            ended=last is not None
            and time.time() - last / SECOND > _ENDED_S
            and live.figures() is None,
            lookups=row["n"],
            live=live.configured and scope.everything,
            jaeger=bool(_settings(request).jaeger_url),
            namespaces=None if scope.namespaces is None else sorted(scope.namespaces),
            segments=[shapes.Named(name=name, label=label) for name, label in labels.SEGMENTS],
            certainties=[
                shapes.Named(name=name, label=label) for name, label in labels.CERTAINTIES
            ],
            labels={**dict(labels.SEGMENTS), **labels.OUTCOMES},
            problems=answering.files.problems if scope.everything else [],
        )

    return _answer(request, scope, make)


@router.get("/state")
def state(request: Request, asked: AskedOf) -> shapes.State:
    """Is DNS healthy, how much of it is seen, who suffers, since when, what changed."""
    return _answer(request, asked, lambda answering: state_of(answering, asked, _live(request)))


@router.get("/overview")
def overview(request: Request, asked: AskedOf) -> shapes.Course:
    """Rate, failures, percentiles, where the time went, how sure the joins are; over time."""
    return _answer(request, asked, lambda answering: course(answering, asked))


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
        lambda answering: lookups_of(answering, asked, order, limit, offset),
        order,
        limit,
        offset,
    )


@router.get("/facets")
def facets(request: Request, asked: AskedOf) -> shapes.Facets:
    """The most frequent values by which lookups can be narrowed down."""
    return _answer(request, asked, lambda answering: facets_of(answering, asked))


@router.get("/lookups/{trace_id}/{span_id}")
def lookup(
    request: Request,
    scope: ScopeOf,
    trace_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")],
    span_id: Annotated[str, Path(pattern="^[0-9a-f]{16}$")],
) -> shapes.LookupWhole:
    """One lookup with all that is known of it."""
    jaeger = _settings(request).jaeger_url
    asked = Asked(Window(0, 1), scope)
    found = _answer(
        request,
        scope,
        lambda answering: whole(answering, asked, trace_id, span_id, jaeger),
    )
    if found is None:
        raise HTTPException(404, "the history has no such lookup (any more)")
    return found


@router.get("/servers")
def servers(request: Request, asked: AskedOf) -> shapes.Servers:
    """Servers, plugins and upstreams, the slowest first."""
    return _answer(request, asked, lambda answering: servers_of(answering, asked))


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
    return _answer(request, asked, lambda answering: latency_of(answering, asked, of), of)


@router.get("/comparison")
def comparison(
    request: Request, asked: AskedOf, of: Subject, versus: Versus = "before"
) -> shapes.Comparison:
    """Two subjects in one time, or one in two times."""
    return _answer(
        request, asked, lambda answering: compare(answering, asked, of, versus), of, versus
    )


@router.get("/pods")
def pods(
    request: Request, asked: AskedOf, by: By = "pod", order: PodOrder = "suffering"
) -> shapes.Pods:
    """Pods, nodes or namespaces: who suffers, who is noisy."""
    return _answer(
        request, asked, lambda answering: pods_of(answering, asked, by, order), by, order
    )


@router.get("/advice")
def advice(request: Request, asked: AskedOf) -> shapes.Advised:
    """What a change of ndots, or a trailing dot, would save."""
    return _answer(request, asked, lambda answering: advise(answering, asked))


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
