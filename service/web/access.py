"""Who may see what a process serves over HTTP, and what browsers may do with it: an ASGI layer around the application.

On a loopback address anybody on this machine may, under a name of this machine: a page of another site, whose name has
been pointed at 127.0.0.1 (DNS rebinding), may not. With a token it takes the token: in the address of the first visit,
afterwards in a cookie, or as a bearer token for programs.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol.endpoints import is_loopback

COOKIE_PREFIX = "zswarm_token_"
"""Of the name of the cookie, which ends with digits that follow from the token: browsers keep one cookie of a name for
all ports of a host, and several pages may be there."""
COOKIE_DIGITS_COUNT = 8
OPEN_PATHS = ("/healthz", "/readyz")
"""Seen without a token: probes have none."""
PUBLIC_PREFIX = "/static/"
"""Style and script, which are those of anybody."""
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """``token`` empty: none is needed, and the address is a loopback one. ``refuse`` answers who may not see it:
    it takes the status, what is wrong, and the path."""

    def __init__(self, app: ASGIApp, token: str, refuse: Callable[[int, str, str], ASGIApp]) -> None:
        self._app, self._token, self._refuse = app, token.encode(), refuse
        self._cookie = COOKIE_PREFIX + hashlib.sha256(self._token).hexdigest()[:COOKIE_DIGITS_COUNT]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        app, cookie = self._app, ""
        if scope["method"] not in ("GET", "HEAD"):
            app = self._refuse(405, "this page can only be read", scope["path"])
        elif not self._token:
            if not is_own_name(headers.get("host", "")):
                app = self._refuse(421, "this page is for names of this machine, such as localhost", scope["path"])
        elif scope["path"] not in OPEN_PATHS and not scope["path"].startswith(PUBLIC_PREFIX):
            if not any(hmac.compare_digest(given, self._token) for given in self._given(scope, headers)):
                app = self._refuse(401, "this page takes a token; the log of its first start has it", scope["path"])
            elif scope["path"] == "/":
                cookie = f"{self._cookie}={self._token.decode()}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000"

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                safe = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    safe[name] = value
                safe.setdefault("Cache-Control", "no-store")
                if cookie:
                    safe.append("Set-Cookie", cookie)
            await send(message)

        await app(scope, receive, send_safely)

    def _given(self, scope: Scope, headers: Headers) -> Iterator[bytes]:
        """What a request has for a token: in its address if that is the page's, as a bearer token, in a cookie."""
        if scope["path"] == "/":
            yield QueryParams(scope["query_string"]).get("token", "").encode()
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            yield value.strip().encode()
        for cookie in headers.get("cookie", "").split(";"):  # others of this host may have any text
            name, _, value = cookie.strip().partition("=")
            if name == self._cookie:
                yield value.encode()


def is_own_name(host: str) -> bool:
    """Whether ``Host: HOST`` is a name of this machine's loopback, at any port: a tunnel has another one."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name.lower() == "localhost" or name.lower().endswith(".localhost") or is_loopback(name)
