"""`transport.publisher`: its thread, and the end of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import zmq

from protocol.errors import LocalError
from transport import publisher
from transport.publisher import Publisher
from transport.sockets import Role, open_context, open_socket, send_or_drop


def test_a_thread_that_has_ended_is_noticed_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(socket: zmq.Socket[bytes], frames: Sequence[bytes]) -> bool:
        if socket.type == zmq.PUB:
            raise MemoryError
        return send_or_drop(socket, frames)

    monkeypatch.setattr(publisher, "send_or_drop", without_memory)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    context = open_context()
    publishes = Publisher(open_socket(context, Role.TRACKER_PUB))
    publishes.send([b"topic", b"first"])
    publishes._thread.join(10.0)
    with pytest.raises(LocalError, match="publishes"):
        publishes.send([b"topic", b"second"])
    publishes.close()
    context.term()
