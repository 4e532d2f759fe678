"""The page's HTTP thread: uvicorn on its sockets."""

from __future__ import annotations

import logging
import socket
import threading

import uvicorn
from starlette.types import ASGIApp

from broker.web.desk import STREAMS_COUNT_MAX, Desk
from protocol.endpoints import parse_endpoint
from protocol.errors import LocalError, NetworkError
from transport.addresses import family_of, listen_on

CONNECTIONS_COUNT_MAX = 4 * STREAMS_COUNT_MAX
REQUEST_HEAD_BYTES_MAX = 16 * 1024
STUCK_SECONDS = 20.0
"""A viewer who takes nothing for so long is disconnected by the kernel."""
END_SECONDS = 2.0
_BACKLOG_COUNT = 64


class HttpThread:
    """Serves ``app`` at ``endpoint`` from now on. Raises `NetworkError` when it cannot listen."""

    def __init__(self, endpoint: str, app: ASGIApp, desk: Desk) -> None:
        self._sockets = _listen(endpoint)
        self.port = int(self._sockets[0].getsockname()[1])
        self._desk = desk
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_COUNT_MAX,
            h11_max_incomplete_event_size=REQUEST_HEAD_BYTES_MAX,
            timeout_graceful_shutdown=1,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Close all connections."""
        self._server.should_exit = True
        self._desk.close()
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
            self._desk.fail(why)


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
