"""The history's own questions, for a command line that is elsewhere: by name, answered as JSON.

What is asked of files and what is asked here is the same, :class:`otel_dns.history.questions`; a
token that is bound to namespaces gets no more than elsewhere. SQL and whole rows are for those who
may see everything.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, get_type_hints

import msgspec
import pyarrow as pa
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from otel_dns.history.history import BusyError, History, HistoryError
from otel_dns.history.questions import MAX_ROWS, questions
from otel_dns.history.where import Where
from otel_dns.web.access import Scope
from otel_dns.web.answering import turned_away
from otel_dns.web.export import ARROW, Exports, export
from otel_dns.web.scope import ScopeOf

_LONGEST: Final = 16_384

_BINARY: Final = {"type": "string", "format": "binary"}

router = APIRouter(prefix="/api/v1")


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Say over HTTP what the history cannot answer, and what is no question."""
    try:
        yield
    except BusyError as error:
        raise turned_away(error) from None
    except (HistoryError, ValueError, TypeError) as error:
        raise HTTPException(422, str(error)) from None


def _as(media_type: str, schema: Mapping[str, str]) -> dict[str, Any]:
    """Describe an answer, for OpenAPI."""
    return {"content": {media_type: {"schema": schema}}}


Json = Annotated[str, Query(max_length=_LONGEST, description="A JSON object.")]


@router.get(
    "/questions/{question}", response_class=Response, responses={200: _as("application/json", {
        "description": "What the question answers: otel_dns/history/answers.py."
    })},
)  # fmt: skip
def question(
    request: Request,
    scope: ScopeOf,
    question: Annotated[str, Path(pattern="^[a-z_]+$")],
    arguments: Json = "{}",
) -> Response:
    """One of the history's questions, with its arguments as the command line asks it."""
    method = questions().get(question)
    if method is None:
        raise HTTPException(404, "no such question: the command line is of another version")
    history: History = request.app.state.history
    with _answering():
        answer = getattr(history, question)(**_arguments(method, arguments, scope))
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _arguments(method: Callable[..., Any], arguments: str, scope: Scope) -> dict[str, Any]:
    """Read arguments by the method's own types, and keep them within the scope.

    Raises:
        ValueError: they are no JSON object, or not what the method takes.
    """
    hints = get_type_hints(method)
    raw = msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    given = {
        name: msgspec.json.decode(value, type=hints[name])
        for name, value in raw.items()
        if name in hints
    }
    if len(given) < len(raw) or "where" not in hints:
        raise ValueError("it does not take these arguments")
    where = given.get("where", Where())
    given["where"] = replace(where, namespaces=scope.namespaces)
    return given


def _of_everything(scope: Scope) -> None:
    if not scope.everything:
        raise HTTPException(403, "this token is bound to namespaces: no SQL, no whole rows")


@router.get("/sql", response_class=Response, responses={200: _as(ARROW, _BINARY)})
def sql(
    request: Request,
    scope: ScopeOf,
    query: Annotated[str, Query(max_length=_LONGEST)],
    where: Json = "{}",
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 1000,
) -> Response:
    """SQL on the history, read-only, as an Arrow stream; not for tokens bound to namespaces."""
    _of_everything(scope)
    history: History = request.app.state.history
    with _answering():
        answer = history.sql(query, msgspec.json.decode(where, type=Where), limit)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, answer.schema) as writer:
        writer.write_table(answer)
    return Response(sink.getvalue().to_pybytes(), media_type=ARROW)


@router.get("/rows", response_class=Response, responses={200: _as(ARROW, _BINARY)})
def rows(request: Request, scope: ScopeOf, where: Json = "{}") -> Response:
    """Whole rows in order of time, as an Arrow stream: one reader at a time, who keeps reading."""
    _of_everything(scope)
    exports: Exports = request.app.state.exports
    with _answering():
        wanted = msgspec.json.decode(where, type=Where)
        if not exports.begin():
            raise HTTPException(
                503,
                f"another export runs, for {exports.runs_s:.0f} s so far, and there is one at a"
                " time; try again later",
                {"Retry-After": str(math.ceil(exports.patience_s))},
            )
        return export(request.app.state.history, wanted, exports)
