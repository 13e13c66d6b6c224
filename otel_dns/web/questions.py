"""The history's own questions, for a command line that is elsewhere: by name, answered as JSON.

What is asked of files and what is asked here is the same, :class:`otel_dns.history.questions`; a
token that is bound to namespaces gets no more than elsewhere. SQL and whole rows are for those who
may see everything.
"""

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, get_type_hints

import msgspec
import pyarrow as pa
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from otel_dns.history.history import BusyError, History, HistoryError
from otel_dns.history.questions import MAX_ROWS, questions
from otel_dns.history.where import Where
from otel_dns.web.access import Scope
from otel_dns.web.answering import turned_away
from otel_dns.web.scope import ScopeOf

ARROW: Final = "application/vnd.apache.arrow.stream"
_LONGEST: Final = 16_384
_export = threading.Semaphore(1)

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
    """Whole rows in order of time, as an Arrow stream, one reader at a time."""
    _of_everything(scope)
    history: History = request.app.state.history
    with _answering():
        wanted = msgspec.json.decode(where, type=Where)
        if not _export.acquire(blocking=False):
            raise BusyError("another export is running; try again")
        stream = _stream(history, wanted)
        next(stream)  # what is not begun has no end either
    return _Export(stream, media_type=ARROW)


class _Export(StreamingResponse):
    """Ends its stream whenever it ends, also where the reader left before it began."""

    def __init__(self, stream: Generator[bytes, None, None], media_type: str) -> None:
        super().__init__(stream, media_type=media_type)
        self._stream = stream

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


def _stream(history: History, where: Where) -> Generator[bytes, None, None]:
    """Give first nothing, then rows as an Arrow stream; the export is over when this is."""
    try:
        batches = history.batches(where)
        sink = _Sink()
        with pa.ipc.new_stream(pa.PythonFile(sink, "w"), batches.schema) as writer:
            yield b""
            for batch in batches:
                writer.write_batch(batch)
                yield sink.taken()
        yield sink.taken()
    finally:
        _export.release()


class _Sink:
    """A file that hands on what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken
