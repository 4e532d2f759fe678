"""The agent's side of ``api.sock``: requests of the command line in, replies out; `node.agent.requests` answers."""

from __future__ import annotations

from collections.abc import Callable

from node.host import Host
from node.local_messages import API_SOCKET, ApiError, ApiReply, ApiRequest
from protocol.codec import request_id
from protocol.errors import ProtocolError, TooLargeError
from protocol.limits import LOCAL_BYTES_MAX


class ApiServer:
    """``on_request`` gets the route to answer to, and the request."""

    def __init__(self, host: Host, on_request: Callable[[bytes, ApiRequest], None]) -> None:
        self._socket = host.listen_local(API_SOCKET, ApiRequest, on_request, self._refuse)
        self.close = self._socket.close

    def reply(self, route: bytes, reply: ApiReply) -> None:
        try:
            self._socket.send(route, reply)
        except TooLargeError as error:
            self._socket.send(route, ApiError(reply.id, error.code, str(error)))

    def _refuse(self, route: bytes, data: bytes | memoryview, error: ProtocolError) -> None:
        self.reply(route, ApiError(request_id(data, LOCAL_BYTES_MAX), error.code, str(error)))
