"""The page's web application, put together."""

import contextlib
import threading
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

import otel_dns
from otel_dns.history.history import HistoryError
from otel_dns.web.access import EVERYTHING, Tokens
from otel_dns.web.answering import Answers, open_history
from otel_dns.web.api import router
from otel_dns.web.asked import SECOND, Asked, Window
from otel_dns.web.export import Exports
from otel_dns.web.guard import App, Guard, is_loopback
from otel_dns.web.live import Live
from otel_dns.web.overview import course
from otel_dns.web.questions import router as questions
from otel_dns.web.settings import PageSettings
from otel_dns.web.state import state

STATIC: Final = Path(__file__).with_name("static")
_DESCRIPTION: Final = """\
What the page shows, as JSON. Times: `from` and `to` are seconds since the epoch, `..._us`
microseconds since the epoch, `..._ns` nanoseconds. Names come from DNS: treat them as hostile text.
With tokens: `Authorization: Bearer TOKEN`; a token bound to namespaces sees nothing else.
"""


def create_app(settings: PageSettings) -> App:
    """Make the application (ASGI).

    Raises:
        TokensError: the file of tokens cannot be used.
    """
    tokens = Tokens.read(settings.token_file) if settings.token_file else None
    app = FastAPI(
        title="otel-dns",
        version=otel_dns.__version__,
        description=_DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.tokens = tokens
    app.state.history = open_history(settings)
    app.state.answers = Answers(settings.cache_s)
    app.state.exports = Exports(settings.patience_s)
    app.state.live = Live(settings.service_url, settings.service_token_file)
    app.state.settings = settings
    app.include_router(router)
    app.include_router(questions)
    threading.Thread(target=_get_ready, args=(app,), name="get-ready", daemon=True).start()

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/healthz", include_in_schema=False)
    def healthy() -> str:
        return "ok"

    app.mount("/static", _Static(directory=STATIC))
    hosts = None if tokens else (*settings.hosts, settings.listen.rpartition(":")[0])
    return Guard(app, hosts)


def _get_ready(app: FastAPI) -> None:
    """Ask what the first page asks, of a time without lookups.

    What makes SQL of questions is loaded, and their SQL is made: half a second and more, for which
    the first to look at the page need not wait.
    """
    nothing = Asked(Window(0, SECOND).rounded(), EVERYTHING)
    with contextlib.suppress(HistoryError):
        state(app.state.history, nothing, app.state.live)
        course(app.state.history, nothing)


class _Static(StaticFiles):
    """Files that a browser asks for again after an update, but does not load again without one."""

    def file_response(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = "no-cache"
        return response


__all__ = ["STATIC", "create_app", "is_loopback"]
