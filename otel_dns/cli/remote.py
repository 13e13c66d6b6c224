"""A history that a running service has: its questions, asked over the page's API."""

import contextlib
import http.client
import inspect
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, Final, Self, get_type_hints

import msgspec
import pyarrow as pa

from otel_dns.history.history import HistoryError
from otel_dns.history.questions import EVERYTHING, questions
from otel_dns.history.where import Where

TOKEN: Final = "OTEL_DNS_TOKEN"  # noqa: S105 the variable's name
_TIMEOUT_S: Final = 60.0
_NO_SUCH_PATH: Final = "Not Found"
"""What the page's framework says."""
_ASKED: Final = "is it a page's address?"


class Remote:
    """Asks the questions of the history that is served there, as :class:`History` does of files."""

    def __init__(self, url: str) -> None:
        """Ask the page at this address; the token, if it wants one, is in ``OTEL_DNS_TOKEN``."""
        self._url = url.rstrip("/")
        self._token = os.environ.get(TOKEN, "").strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        method = questions().get(name)
        if method is None:
            raise AttributeError(name)

        def ask(*args: Any, **keywords: Any) -> Any:
            arguments = inspect.signature(method).bind(None, *args, **keywords).arguments
            del arguments["self"]
            given = msgspec.json.encode(arguments).decode()
            answer = self._read(f"questions/{name}", arguments=given)
            with self._understood():
                return msgspec.json.decode(answer, type=get_type_hints(method)["return"])

        return ask

    def sql(self, query: str, where: Where = EVERYTHING, limit: int = 1000) -> pa.Table:
        """Answer SQL, see :meth:`otel_dns.history.history.History.sql`."""
        given = msgspec.json.encode(where).decode()
        answer = self._read("sql", query=query, where=given, limit=str(limit))
        with self._understood():
            return pa.ipc.open_stream(answer).read_all()

    def batches(self, where: Where = EVERYTHING) -> pa.RecordBatchReader:
        """Give whole rows, a batch after the other, as they come."""
        answer = self._open("rows", where=msgspec.json.encode(where).decode())
        with self._understood():
            schema = (stream := pa.ipc.open_stream(pa.PythonFile(answer, "r"))).schema

        def batches() -> Iterator[pa.RecordBatch]:
            with answer, self._understood():
                try:
                    yield from stream
                except pa.ArrowInvalid as error:  # it began well
                    raise OSError(str(error)) from None

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _read(self, path: str, **parameters: str) -> bytes:
        with self._open(path, **parameters) as answer, self._understood():
            read: bytes = answer.read()
            return read

    def _open(self, path: str, **parameters: str) -> Any:
        """Open an answer.

        Raises:
            HistoryError: there is none; the message says why.
        """
        address = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        request = urllib.request.Request(address)  # noqa: S310 http or https, see open_history
        if self._token:
            # To this address alone, and not to where it may send us.
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        with self._understood():
            try:
                return urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
            except urllib.error.HTTPError as error:
                with error:
                    raise HistoryError(self._why(error)) from None

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Say so where no answer comes, or one that no page gives.

        Raises:
            HistoryError: the message says why.
        """
        try:
            yield
        except (HistoryError, BrokenPipeError):
            raise
        except (http.client.BadStatusLine, msgspec.DecodeError, pa.ArrowInvalid):
            raise HistoryError(f"{self._url} does not answer as a page: {_ASKED}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise HistoryError(f"no answer from {self._url}: {reason}") from None

    def _why(self, error: urllib.error.HTTPError) -> str:
        place = error.url.partition("/api/v1/")[0]
        if error.code == 401:
            if place != self._url:
                return f"{self._url} sends on to {place}, which wants a token: give its address"
            return f"the service wants {'another' if self._token else 'a'} token: {TOKEN}=..."
        try:
            detail = str(json.loads(error.read())["detail"])
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            detail = _NO_SUCH_PATH
        if detail == _NO_SUCH_PATH:
            return f"{place} answered {error.code}: {_ASKED}"
        return detail
