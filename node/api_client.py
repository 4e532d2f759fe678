"""The command line's side of ``api.sock``: ask the peer that runs on a data directory. Synchronous."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import TracebackType

import zmq

from node.local_messages import API_SOCKET, ApiReply, ApiRequest
from protocol.codec import Decoder, encode
from protocol.errors import NetworkError
from protocol.limits import LOCAL_BYTES_MAX
from transport.runtime_dir import find_runtime_dir, ipc_endpoint
from transport.sockets import Role, connect, open_context, open_socket

REQUEST_SECONDS = 10.0
LOOK_SECONDS = 0.5
"""While there is no reply, it is made sure this often that there still is a peer."""


class ApiClient:
    """A connection to the peer that runs on ``data_dir``; `NetworkError` at once when there is none."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        try:
            directory = find_runtime_dir(data_dir)
        except OSError:
            raise _nobody(data_dir) from None
        self._path = directory / API_SOCKET
        _check_listening(self._path, data_dir)
        self._decoder: Decoder[ApiReply] = Decoder(ApiReply, LOCAL_BYTES_MAX)
        self._context = open_context()
        self._socket = open_socket(self._context, Role.LOCAL_DEALER)
        connect(self._socket, ipc_endpoint(directory, API_SOCKET))

    def request(self, message: ApiRequest, timeout: float = REQUEST_SECONDS) -> ApiReply:
        """The reply to ``message``, whatever it is, `ApiError` included. `NetworkError` after ``timeout`` seconds."""
        self._socket.send(encode(message, LOCAL_BYTES_MAX))
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not self._socket.poll(int(min(left, LOOK_SECONDS) * 1_000) + 1, zmq.POLLIN):
                _check_listening(self._path, self._data_dir)
                continue
            reply = self._decoder.decode(self._socket.recv())
            if reply.id == message.id:
                return reply
        raise NetworkError(f"the peer on {self._data_dir} did not answer within {timeout:g} s")

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_listening(path: Path, data_dir: Path) -> None:
    """libzmq would dial a socket that nobody listens on for ever; a killed peer leaves such a file behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            raise _nobody(data_dir) from None


def _nobody(data_dir: Path) -> NetworkError:
    return NetworkError(f"no peer runs on {data_dir}; start one with: python -m node --data-dir {data_dir}")
