"""Fixtures of the tests of `transport`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import zmq

from transport.sockets import Role, open_context, open_socket

Open = Callable[..., zmq.Socket[bytes]]


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made = open_context()
    yield made
    made.term()


@pytest.fixture
def opened(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Open]:
    """Open a socket that is closed when the test ends."""
    sockets: list[zmq.Socket[bytes]] = []

    def open_one(role: Role, max_message_bytes: int | None = None) -> zmq.Socket[bytes]:
        sockets.append(open_socket(context, role, max_message_bytes))
        return sockets[-1]

    yield open_one
    for each in sockets:
        each.close(0)
