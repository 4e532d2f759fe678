"""The HTTP thread of a process: uvicorn on its sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from protocol.endpoints import parse_endpoint
from protocol.errors import LocalError, NetworkError
from transport.addresses import family_of, listen_on
from transport.loop import Loop

REQUEST_HEAD_BYTES_MAX = 16 * 1024
STUCK_SECONDS = 20.0
"""A viewer who takes nothing for so long is disconnected by the kernel."""
END_SECONDS = 2.0
_BACKLOG_COUNT = 64


class _Connection(H11Protocol):
    """One that waits for a request gives way when there is no room for another: who connects and says nothing, or not
    all of it, keeps nobody out."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        if self.limit_concurrency is None or len(self.connections) < self.limit_concurrency:
            return
        others = [one for one in self.connections if isinstance(one, _Connection) and one is not self and one._waits]
        if others:
            oldest = min(others, key=lambda one: one._since)
            self.connections.discard(oldest)
            oldest.transport.abort()

    @property
    def _waits(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


class HttpThread:
    """Serves ``app`` at ``endpoint`` from now on, to at most ``connections_max`` at a time. What ends it is raised in
    ``loop``, which the process ends with. Raises `NetworkError` when it cannot listen."""

    def __init__(self, endpoint: str, app: ASGIApp, loop: Loop, connections_max: int) -> None:
        self._sockets = _listen(endpoint)
        self.port = int(self._sockets[0].getsockname()[1])
        self._failed: BaseException | None = None
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add(self._bell, self._on_bell)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_Connection,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=connections_max,
            h11_max_incomplete_event_size=REQUEST_HEAD_BYTES_MAX,
            timeout_graceful_shutdown=1,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what strangers send is no news
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Close all connections."""
        self._server.should_exit = True
        self._thread.join(END_SECONDS)
        for listening in self._sockets:
            listening.close()

    def _run(self) -> None:
        why: BaseException = LocalError("the HTTP server ended")
        try:
            self._server.run(self._sockets)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            why = error
        if not self._server.should_exit:
            self._failed = why
            os.eventfd_write(self._bell, 1)

    def _on_bell(self) -> None:
        if self._failed is not None:
            raise self._failed


def _listen(endpoint: str) -> list[socket.socket]:
    host, port = parse_endpoint(endpoint, port_zero=True)
    sockets: list[socket.socket] = []
    try:
        for address in listen_on(host):
            listening = socket.socket(family_of(address), socket.SOCK_STREAM)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the supervisor holds the port
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK_SECONDS * 1_000))
            if listening.family is socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.bind((address.strip("[]"), port))
            listening.listen(_BACKLOG_COUNT)
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise NetworkError(f"cannot listen on {endpoint}: {error.strerror}") from None
    return sockets
