"""The agent's side of ``api.sock``: requests of the command line in, replies out; `node.agent.requests` answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import zmq

from node.local_messages import API_SOCKET, ApiError, ApiReply, ApiRequest
from protocol.codec import Decoder, encode, request_id
from protocol.errors import ProtocolError, TooLargeError
from protocol.limits import LOCAL_BYTES_MAX
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, bind, drain_routed, open_socket, send_or_drop

LINGER_MS = 500
"""The last reply, to ``stop``, still has to reach whoever asked."""

log = logging.getLogger(__name__)


class ApiServer:
    """``on_request`` gets the route to answer to, and the request."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        runtime_dir: Path,
        on_request: Callable[[bytes, ApiRequest], None],
    ) -> None:
        self._on_request = on_request
        self._decoder: Decoder[ApiRequest] = Decoder(ApiRequest, LOCAL_BYTES_MAX)
        self.socket = open_socket(context, Role.LOCAL_ROUTER)
        bind(self.socket, ipc_endpoint(runtime_dir, API_SOCKET))

    def receive(self) -> None:
        """Handler of the loop."""
        for route, frames in drain_routed(self.socket):
            data = frames[-1].buffer
            try:
                request = self._decoder.decode(data)
            except ProtocolError as error:
                self.reply(route, ApiError(request_id(data, LOCAL_BYTES_MAX), error.code, str(error)))
                continue
            self._on_request(route, request)

    def reply(self, route: bytes, reply: ApiReply) -> None:
        try:
            data = encode(reply, LOCAL_BYTES_MAX)
        except TooLargeError as error:
            data = encode(ApiError(reply.id, error.code, str(error)))
        send_or_drop(self.socket, [route, data])

    def close(self) -> None:
        self.socket.close(LINGER_MS)
