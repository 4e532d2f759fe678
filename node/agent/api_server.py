"""The agent's side of ``api.sock``: requests of the command line in, replies out; `node.agent.requests` answers."""

from __future__ import annotations

from collections.abc import Callable

from node.api_messages import ApiError, ApiReply, ApiRequest
from node.host import Host
from node.local_messages import API_SOCKET
from protocol.codec import Decoder, request_id
from protocol.errors import ProtocolError, TooLargeError
from protocol.limits import LOCAL_BYTES_MAX


class ApiServer:
    """``on_request`` gets the route to answer to, the request, and the time."""

    def __init__(self, host: Host, on_request: Callable[[bytes, ApiRequest, float], None]) -> None:
        self._socket = host.listen_local(API_SOCKET)
        self._socket.hear(Decoder(ApiRequest, LOCAL_BYTES_MAX), on_request, self._refuse)

    def reply(self, route: bytes, reply: ApiReply) -> None:
        try:
            self._socket.send(route, reply)
        except TooLargeError as error:
            self._socket.send(route, ApiError(reply.id, error.code, str(error)))

    def _refuse(self, route: bytes, data: bytes, error: ProtocolError) -> None:
        self.reply(route, ApiError(request_id(data, LOCAL_BYTES_MAX), error.code, str(error)))
