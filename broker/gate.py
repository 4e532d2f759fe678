"""What a key permits at the registrar: an invite permits `Enrol` alone, and a peer speaks only for itself. In a network
without keys everything passes.

`transport.access` has decided before who may connect; the core answers the requests that pass.
"""

from __future__ import annotations

import logging

from protocol.keys import peer_id_of
from protocol.messages import Enrol, Enrolled, Error, MemberRequest
from service.key_folder import LiveKeys, RefusedKeyError
from service.text import printable

_logger = logging.getLogger(__name__)


class Gate:
    """``live`` None: a network without keys."""

    def __init__(self, live: LiveKeys | None) -> None:
        self._live = live

    def refusal(self, message: MemberRequest, key: str) -> Error | None:
        """Why ``message``, which came over a connection with ``key``, is not for the core; None when it is."""
        if self._live is None:
            return None
        if not self._live.is_member(key):
            detail = "an invite may send only Enrol; then connect with the key that was enrolled"
            return Error(message.id, "invited", detail)
        if message.peer != peer_id_of(key):
            detail = f"peer id {message.peer} is not that of this connection's key; send your own"
            return Error(message.id, "not_yours", detail)
        return None

    def enrol(self, message: Enrol, invite: str) -> Enrolled | Error:
        """Let a key in, if the connection's ``invite`` is one."""
        if self._live is None:
            return Error(message.id, "no_keys", "this tracker has no keys; join it without an invite")
        try:
            self._live.folder.enrol(invite, message.key, message.name)
        except RefusedKeyError as error:
            return Error(message.id, "refused", str(error))
        except OSError as error:
            _logger.error("cannot let in key %s: %s: %s", message.key[:16], self._live.folder.path, error.strerror)
            return Error(message.id, "disk", "the tracker could not write to its key folder; its log says why")
        self._live.look()
        name = printable(message.name)
        _logger.info("key %s (%s) was let in by invite %s", message.key[:16], name or "no name", invite[:16])
        return Enrolled(message.id)
