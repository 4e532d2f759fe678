"""Where a process serves HTTP, and the token that it takes: its supervisor holds the port, as others are held.

Has no HTTP itself: that is in `service.web`, which only the processes that serve it import.
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
from pathlib import Path

from protocol.endpoints import Address, is_wildcard, parse_endpoint
from protocol.errors import ConfigError, DiskError, NetworkError, ProtocolError
from service.paths import expanded
from service.ports import HeldPorts
from service.private_files import read_private, write_private_once
from transport.addresses import is_local

TOKEN_BYTES = 24
_TOKEN = re.compile(r"[0-9A-Za-z_.~-]{16,256}")
_logger = logging.getLogger(__name__)


class WebPlace:
    """An address, held from now on, for what people call ``what`` and configure by ``key``. ``token`` is empty if none
    is taken: ``token_file`` (a path; empty: none) has it, and is made if it is not there. ``example`` is an address
    that takes none. Raises `ConfigError`, `NetworkError` when the address cannot be had, `DiskError` when the file
    cannot be written."""

    def __init__(self, address: Address, token_file: str, what: str, key: str, example: str) -> None:
        self._what, self._key = what, key
        if not token_file and not is_local(address.host):
            raise ConfigError(
                f"key `{key}`: other machines reach {what} at {address.host}:{address.port}, so it takes a token: set "
                f"`{key}_token_file` to the absolute path of a file for it (which is made at the first start), or "
                f"`{key}` to {example}"
            )
        try:
            self._held = HeldPorts([address])
        except NetworkError as error:
            raise NetworkError(f"{what} (key `{key}`): {error}") from None
        self.address = self._held.addresses[0]
        try:
            self.token = self._token_in(expanded(token_file)) if token_file else ""
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the port."""
        self._held.close()

    def _token_in(self, path: Path) -> str:
        """The token in the file ``path``, which is made if it is not there; then the log has the link."""
        key = f"{self._key}_token_file"
        try:
            is_new = write_private_once(path, f"{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode())
            token = read_private(path).decode(errors="replace").strip()
        except OSError as error:
            raise DiskError(f"{path} ({key}): {error.strerror}") from None
        if _TOKEN.fullmatch(token) is None:
            what = "expected one line of 16 to 256 letters, digits or . _ ~ -; delete the file to have one made"
            raise ConfigError(f"{path} ({key}): holds no token; {what}")
        if is_new:
            host = socket.gethostname() if is_wildcard(self.address.host) else self.address.host
            link = f"http://{host}:{self.address.port}/?token={token}"
            _logger.info("%s takes a token, now in %s: %s", self._what, path, link)
        return token


def parse_place(key: str, text: str, token_file: str, example: str) -> Address | None:
    """The address that ``text``, the value of ``key``, names; None if it is empty: nowhere. `ConfigError` when it is no
    address to listen on, or when ``token_file``, which goes with it, is neither empty nor an absolute path."""
    if token_file and not expanded(token_file).is_absolute():
        raise ConfigError(f"key `{key}_token_file`: expected the absolute path of a file")
    if not text:
        return None
    try:
        return parse_endpoint(f"tcp://{text}", port_zero=True)
    except ProtocolError:
        what = f'expected an address and a port such as {example}, or "" for none'
        raise ConfigError(f"key `{key}`: {text!r:.80} is no address; {what}") from None
