"""Where the tracker's page is served, and the token that it takes: the port is held as the tracker's others are.

The page itself is a process of its own (`broker.web`).
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
from pathlib import Path

from broker.config import DEFAULT_WEB, TrackerConfig, web_address
from broker.ports import HeldPorts
from protocol.endpoints import Address, is_wildcard
from protocol.errors import ConfigError, DiskError, NetworkError
from service.paths import expanded
from service.private_files import read_private, write_private_once
from transport.addresses import is_local

TOKEN_BYTES = 24
_TOKEN = re.compile(r"[0-9A-Za-z_.~-]{16,256}")
_logger = logging.getLogger(__name__)


class PagePlace:
    """Held from now on. ``token`` is empty if the page takes none. Raises `ConfigError`, `NetworkError` when the
    address cannot be had, `DiskError` when the token file cannot be written."""

    def __init__(self, address: Address, token_path: Path | None) -> None:
        if token_path is None and not is_local(address.host):
            raise ConfigError(
                f"key `web`: other machines reach the page at {address.host}:{address.port}, so it takes a token: set "
                f"`web_token_file` to the absolute path of a file for it (the tracker makes one at its first start), "
                f"or `web` to {DEFAULT_WEB}"
            )
        self._held = HeldPorts([address])
        self.address = self._held.addresses[0]
        try:
            self.token = "" if token_path is None else _token_in(token_path, self.address)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the port."""
        self._held.close()


def page_place(config: TrackerConfig) -> PagePlace | None:
    """The place that ``config`` names, or the default one if that can be had; None: there is no page."""
    address = web_address(config)
    if address is None:
        return None
    token_path = expanded(config.web_token_file) if config.web_token_file else None
    try:
        return PagePlace(address, token_path)
    except NetworkError as error:
        if config.web is not None:
            raise NetworkError(f"the page (key `web`): {error}") from None
        why = str(error).partition(";")[0]
    _logger.warning('%s: this tracker has no page; set web to another address, or to "" for none', why)
    return None


def _token_in(path: Path, address: Address) -> str:
    """The token in the file ``path``, which is made if it is not there; then the log has the link."""
    try:
        if write_private_once(path, f"{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode()):
            token = read_private(path).decode().strip()
            host = socket.gethostname() if is_wildcard(address.host) else address.host
            _logger.info("the page takes a token, now in %s: http://%s:%d/?token=%s", path, host, address.port, token)
            return token
        token = read_private(path).decode(errors="replace").strip()
    except OSError as error:
        raise DiskError(f"{path} (web_token_file): {error.strerror}") from None
    if _TOKEN.fullmatch(token) is None:
        what = "expected one line of 16 to 256 letters, digits or . _ ~ -; delete the file to have one made"
        raise ConfigError(f"{path} (web_token_file): holds no token; {what}")
    return token
