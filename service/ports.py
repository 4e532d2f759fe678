"""Ports, held by a supervisor for as long as it runs.

The supervisor binds each port without listening. This shows at once whether it is free, chooses one for port 0, and
keeps the system from giving it to another program while a child is restarted. A child can still listen on it: both
sockets have SO_REUSEADDR (libzmq sets it), and Linux only refuses a second *listening* socket. So an abstract socket
named after the port, which can exist only once in a network namespace, keeps a second program of ours out until a
child listens.
"""

from __future__ import annotations

import errno
import socket

from protocol.endpoints import Address
from protocol.errors import NetworkError
from transport.addresses import family_of, listen_on

_REASONS = {
    errno.EADDRINUSE: "the port is in use; stop the program that uses it, or choose another (port 0: any free one)",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "permission denied; ports below 1024 need privileges, choose a higher one",
}


class HeldPorts:
    """The ports of ``wanted``; `addresses` has them with their numbers. Raises `NetworkError`, which names the port
    that is not available."""

    def __init__(self, wanted: list[Address]) -> None:
        self._sockets: list[socket.socket] = []
        self.addresses: list[Address] = []
        try:
            for address in wanted:
                self._hold(address)
        except (NetworkError, OSError) as error:
            self.close()
            reason = _REASONS.get(error.errno or 0, error.strerror) if isinstance(error, OSError) else error
            raise NetworkError(f"cannot listen on {address}: {reason}") from None

    def close(self) -> None:
        """Let go of all of them."""
        for held in self._sockets:
            held.close()
        self._sockets.clear()

    def _hold(self, address: Address) -> None:
        port = address.port
        for host in listen_on(address.host):
            held = socket.socket(family_of(host), socket.SOCK_STREAM)
            self._sockets.append(held)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if held.family is socket.AF_INET6:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # as libzmq does
            held.bind((host.strip("[]"), port))
            port = int(held.getsockname()[1])
        mine = address._replace(port=port)
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sockets.append(mark)
        mark.bind(f"\0zswarm-{mine}")
        self.addresses.append(mine)
