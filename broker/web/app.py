"""The page over HTTP: the document, its style and script, the JSON API (docs/API.md), metrics and health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.web.desk import Desk, Stream
from broker.web.metrics import families, is_fed
from broker.web.questions import (
    CURSOR_CHARACTERS_MAX,
    PAGE_COUNT,
    PAGE_COUNT_MAX,
    SEARCH_CHARACTERS_MAX,
    Figures,
    GetContent,
    GetContents,
    GetFigures,
    GetOverview,
    GetPeer,
    GetPeers,
    GetRollouts,
    Question,
    Refusal,
)
from service.look_alikes import DISGUISED, LOOK_ALIKES, UNSEEN
from service.text import MARKS_COUNT_MAX
from service.web.access import Guard
from service.web.exposition import exposed

HERE = Path(__file__).parent
_SCRIPT = "text/javascript"
STATIC = {
    "app.css": "text/css",
    "app.js": _SCRIPT,
    "parts.js": _SCRIPT,
    "picture.js": _SCRIPT,
    "icon.svg": "image/svg+xml",
}
_TABLES = "look_alikes.js"
"""The tables of `service.look_alikes` and `service.text`, as a script."""
ANSWER_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 5.0
"""After so long without news an event says that nothing has changed: a viewer who hears nothing knows that figures are
old, and nobody takes the connection for dead."""
_STATUS = {"not_found": 404, "bad_request": 400, "bad_after": 400, "unauthorized": 401, "busy": 503, "starting": 503}


class Page:
    """The application of one page; ``token`` empty: none is needed."""

    def __init__(self, desk: Desk, token: str) -> None:
        self._desk = desk
        templates = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True)
        self._document = templates.get_template("index.html").render(token=bool(token)).encode()
        self._refused = templates.get_template("refused.html")
        self._static = {name: (HERE / "static" / name).read_bytes() for name in STATIC} | {_TABLES: _tables()}
        routes = [
            Route("/", self.document),
            Route("/static/{name}", self.static),
            Route("/api/v1/overview", self.overview),
            Route("/api/v1/contents", self.contents),
            Route("/api/v1/contents/{digest}", self.content),
            Route("/api/v1/peers", self.peers),
            Route("/api/v1/peers/{peer}", self.peer),
            Route("/api/v1/rollouts", self.rollouts),
            Route("/api/v1/events", EventStreams(desk)),
            Route("/metrics", self.metrics),
            Route("/healthz", self.health),
        ]

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            desk.open()
            yield

        handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {HTTPException: _on_error}
        app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
        app.router.redirect_slashes = False  # where to depends on what the request calls this machine
        self.app: ASGIApp = Guard(app, token, self._refuse)

    def _refuse(self, status: int, reason: str, path: str) -> ASGIApp:
        if path != "/":
            return _refusal(Refusal("unauthorized" if status == 401 else "bad_request", reason), status)
        text = self._refused.render(reason=reason, wants_token=status == 401)
        return Response(text, status, media_type="text/html")

    async def document(self, _request: Request) -> Response:
        return Response(self._document, media_type="text/html")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404)
        return Response(self._static[name], media_type=STATIC.get(name, _SCRIPT), headers={"Cache-Control": "no-cache"})

    # --- the API -----------------------------------------------------------------------------------------

    async def overview(self, _request: Request) -> Response:
        return await self._answer(GetOverview())

    async def contents(self, request: Request) -> Response:
        return await self._answer(GetContents(*_page_of(request), _search_of(request)))

    async def content(self, request: Request) -> Response:
        return await self._answer(GetContent(*_page_of(request), request.path_params["digest"]))

    async def peers(self, request: Request) -> Response:
        return await self._answer(GetPeers(*_page_of(request), _search_of(request)))

    async def peer(self, request: Request) -> Response:
        return await self._answer(GetPeer(*_page_of(request), request.path_params["peer"]))

    async def rollouts(self, request: Request) -> Response:
        return await self._answer(GetRollouts(*_page_of(request)))

    async def _answer(self, question: Question) -> Response:
        answer = await _ask(self._desk, question)
        return _refusal(answer) if isinstance(answer, Refusal) else _json(answer)

    # --- monitoring --------------------------------------------------------------------------------------

    async def metrics(self, _request: Request) -> Response:
        figures = await _ask(self._desk, GetFigures())
        if not isinstance(figures, Figures):
            return _refusal(figures)
        return exposed(families(figures, self._desk.streams))

    async def health(self, _request: Request) -> Response:
        """200 while the replica is fed, else 503 and why not."""
        figures = await _ask(self._desk, GetFigures())
        if isinstance(figures, Figures) and is_fed(figures):
            return PlainTextResponse("ok\n")
        why = figures.tracker.reason if isinstance(figures, Figures) else figures.detail
        return PlainTextResponse(f"{why}\n", 503)


def _tables() -> bytes:
    tables = {"LOOK_ALIKES": LOOK_ALIKES, "DISGUISED": DISGUISED, "UNSEEN": UNSEEN, "MARKS_COUNT_MAX": MARKS_COUNT_MAX}
    return b"".join(b"export const %b = %b;\n" % (name.encode(), msgspec.json.encode(tables[name])) for name in tables)


class EventStreams:
    """Server-sent events (HTML standard, section 9.2): an `Overview` when anything has changed, else that nothing
    has."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._desk.view()
        if stream is None:
            await _refusal(Refusal("busy", "too many viewers; try again later"))(scope, receive, send)
            return
        try:
            gone = asyncio.ensure_future(_until_gone(receive))
            sending = asyncio.ensure_future(self._send(stream, send))
            _, rest = await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)
        finally:
            self._desk.leave(stream)

    async def _send(self, stream: Stream, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        first = await _ask(self._desk, GetOverview())
        news: bytes | None = b"" if isinstance(first, Refusal) else msgspec.json.encode(first)
        while news is not None:
            body = b"event: overview\ndata: %b\n\n" % news if news else b"event: alive\ndata: {}\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
            news = await stream.next(KEEP_ALIVE_SECONDS)
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ask(desk: Desk, question: Question) -> Any:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await desk.ask(question)
    except TimeoutError:
        return Refusal("busy", f"the page's replica has not answered for {ANSWER_SECONDS:g} s")


async def _on_error(_request: Request, error: HTTPException) -> Response:
    return _refusal(Refusal("not_found" if error.status_code == 404 else "bad_request", error.detail))


def _page_of(request: Request) -> tuple[str, int]:
    """``after`` and ``limit``."""
    after, limit = request.query_params.get("after", ""), request.query_params.get("limit", str(PAGE_COUNT))
    if len(after) > CURSOR_CHARACTERS_MAX:
        raise HTTPException(400, "'after' has to be the 'next' of an earlier answer")
    if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 1 <= int(limit) <= PAGE_COUNT_MAX):
        raise HTTPException(400, f"'limit' has to be a number from 1 to {PAGE_COUNT_MAX}")
    return after, int(limit)


def _search_of(request: Request) -> str:
    """``search``."""
    search = request.query_params.get("search", "")
    if len(search) > SEARCH_CHARACTERS_MAX:
        raise HTTPException(400, f"'search' has to be at most {SEARCH_CHARACTERS_MAX} characters")
    return search


def _json(answer: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type="application/json")


def _refusal(refusal: Refusal, status: int | None = None) -> Response:
    return _json({"error": refusal}, status or _STATUS[refusal.code])
