"""The figures of a peer over HTTP: /metrics, /healthz and /readyz."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from node.api_messages import StatusReport
from node.metrics.asked import Asked
from node.metrics.families import families
from node.metrics.health import why_dead, why_not_ready
from node.metrics.machine import FileSystem
from node.metrics.reading import Reading
from service.web.access import Guard
from service.web.exposition import exposed

ANSWER_SECONDS = 5.0
DISKS_SECONDS = 1.0
"""How long a disk may take to say what is free: then the rest is told without that."""
INDEX = "a zswarm peer: /metrics for Prometheus, /healthz (it is alive), /readyz (it is a member of the network)\n"
NO_ANSWER = Reading(None, {}, f"no answer within {ANSWER_SECONDS:g} s")


class MetricsApp:
    """``read`` asks the agent, ``disks`` the file systems; ``token`` empty: none is needed."""

    def __init__(self, read: Asked[Reading], disks: Asked[dict[str, FileSystem]], token: str) -> None:
        self._read, self._disks = read, disks
        routes = [
            Route("/", self.index),
            Route("/metrics", self.metrics),
            Route("/healthz", self.health),
            Route("/readyz", self.readiness),
        ]
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False
        self.app: ASGIApp = Guard(app, token, _refuse)

    async def index(self, _request: Request) -> Response:
        return PlainTextResponse(INDEX)

    async def metrics(self, _request: Request) -> Response:
        """What the agent does not say is left out, and `zswarm_peer_up` is 0."""
        disks = await self._disks(DISKS_SECONDS)
        return exposed(families(await self._reading(), disks or {}))

    async def health(self, _request: Request) -> Response:
        return await self._verdict(why_dead)

    async def readiness(self, _request: Request) -> Response:
        return await self._verdict(why_not_ready)

    async def _verdict(self, why_not: Callable[[StatusReport], str]) -> Response:
        reading = await self._reading()
        problem = reading.problem if reading.report is None else why_not(reading.report)
        return PlainTextResponse(f"{problem}\n", 503) if problem else PlainTextResponse("ok\n")

    async def _reading(self) -> Reading:
        return await self._read(ANSWER_SECONDS) or NO_ANSWER


def _refuse(status: int, reason: str, _path: str) -> ASGIApp:
    return PlainTextResponse(f"{reason}\n", status)
