"""The announcer process: tells the local network by mDNS and DNS-SD (RFC 6762, RFC 6763) that there is a tracker.

Runs if zeroconf is installed. It answers queries about this tracker and ignores everything else.
"""

from __future__ import annotations

import logging
import socket

import ifaddr
import zeroconf

from broker.child_settings import AnnouncerSettings
from protocol.endpoints import MDNS_SERVICE, is_loopback, is_wildcard, parse_endpoint
from service.child import run_child
from service.text import printable
from transport.addresses import look_up
from transport.loop import Loop

LOOK_SECONDS = 10.0
"""How often it checks whether this machine's addresses have changed."""
LABEL_BYTES_MAX = 40
"""Bytes of the host's name in the service's name, which has at most 63 bytes in all (RFC 6763, section 4.1.1)."""

_logger = logging.getLogger(__name__)


class Announcer:
    """Announces the tracker at the IPv4 addresses of this machine at which it listens."""

    def __init__(self, listen: str) -> None:
        self._host, self._port = parse_endpoint(listen)
        self._told: list[str] = []
        self._zeroconf: zeroconf.Zeroconf | None = None

    def tick(self, now: float) -> float:
        """Update the announcement; returns when to be called again."""
        addresses = self._addresses()
        if addresses != self._told:
            self.close()
            self._told = addresses
            if addresses:
                self._announce(addresses)
        return now + LOOK_SECONDS

    def _addresses(self) -> list[str]:
        if is_wildcard(self._host):
            found = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
        else:
            found = [host for host in look_up(self._host) if not host.startswith("[")]
        return sorted(address for address in set(found) if not is_loopback(address))

    def _announce(self, addresses: list[str]) -> None:
        name = printable(socket.gethostname()).partition(".")[0].encode()[:LABEL_BYTES_MAX].decode(errors="ignore")
        label = f"{name} {self._port}"
        info = zeroconf.ServiceInfo(
            MDNS_SERVICE,
            f"{label}.{MDNS_SERVICE}",
            self._port,
            server=f"zswarm-{name}-{self._port}.local.",  # not the host's own name, which is another responder's
            parsed_addresses=addresses,
        )
        try:
            self._zeroconf = zeroconf.Zeroconf()
            self._zeroconf.register_service(info, allow_name_change=True)
        except (OSError, zeroconf.Error) as error:
            why = str(error) or type(error).__name__
            _logger.warning(
                "cannot announce the tracker by mDNS: %s; next try when the addresses of this machine change", why
            )
            self.close()
            return
        _logger.info("announcing the tracker by mDNS as '%s' at %s", label, ", ".join(addresses))

    def close(self) -> None:
        """Withdraw the announcement."""
        if self._zeroconf is not None:
            self._zeroconf.close()
            self._zeroconf = None


def main(settings: AnnouncerSettings, loop: Loop) -> int:
    """Announce until it was told to end; 0."""
    logging.getLogger(zeroconf.__name__).setLevel(logging.CRITICAL)  # strangers' packets are no news
    announcer = Announcer(settings.listen)
    try:
        loop.run(announcer.tick)
    finally:
        announcer.close()
    return 0


if __name__ == "__main__":
    run_child("announcer", AnnouncerSettings, main)
