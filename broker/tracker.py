"""A tracker: its ports, and the registrar and lookups under a supervisor.

Has no ZeroMQ socket of its own. It holds the ports, so that a restarted process is back at its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from broker.child_settings import AnnouncerSettings, LookupSettings, RegistrarSettings, WebSettings
from broker.config import TrackerConfig, addresses
from broker.page import page_place
from protocol.endpoints import Address
from service.key_folder import KeyFolder
from service.ports import HeldPorts
from service.supervisor import ChildSpec, Supervisor
from service.web_place import WebPlace
from transport.addresses import is_local
from transport.runtime_dir import ipc_endpoint, remove_runtime_dir, runtime_dir


class Tracker:
    """Ready to run: its owner runs the ``supervisor``, and calls `close` when that has ended its processes. Raises
    `NetworkError` when a port is not available, `ConfigError` when its keys cannot be used."""

    def __init__(self, config: TrackerConfig, ready_file: Path | None = None) -> None:
        if config.keys:
            KeyFolder(Path(config.keys)).load()  # or say what is wrong with it, once
        self._ports = HeldPorts(addresses(config))
        self._page: WebPlace | None = None
        self.listen = str(self._ports.addresses[0])
        """Where the registrar listens, with its port."""
        # Whoever holds the registrar's port owns the directory of this name: what a killed tracker left is taken over.
        self._runtime_key = f"tracker-{self._ports.addresses[0].host}-{self._ports.addresses[0].port}"
        try:
            self._page = page_place(config)
            specs = child_specs(config, self._ports.addresses, self._runtime_key, ready_file, self._page)
            self.supervisor = Supervisor(specs)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of its ports."""
        remove_runtime_dir(self._runtime_key)  # when the registrar had no time to
        self._ports.close()
        if self._page is not None:
            self._page.close()


def child_specs(
    config: TrackerConfig,
    listen_at: Sequence[Address],
    runtime_key: str,
    ready_file: Path | None,
    page: WebPlace | None = None,
) -> list[ChildSpec]:
    """The processes to run; ``listen_at`` has the addresses of registrar, roster and lookups. Raises `ConfigError`."""
    listen, roster, *lookups = map(str, listen_at)
    link = ipc_endpoint(runtime_dir(runtime_key), "link.sock")
    wall_offset = time.time() - time.monotonic()
    registrar = RegistrarSettings(
        listen=listen,
        roster=roster,
        link=link,
        runtime_key=runtime_key,
        lookups=tuple(lookups),
        advertise=config.advertise,
        heartbeat_seconds=config.heartbeat_seconds,
        lease_seconds=config.lease_seconds,
        peers_max=config.peers_max,
        ready_file=str(ready_file.absolute()) if ready_file is not None else "",
        wall_offset=wall_offset,
        keys=config.keys,
        web="" if page is None else str(page.address),
        log=config.log,
    )
    specs = [ChildSpec("registrar", "broker.registrar", msgspec.json.encode(registrar))]
    for number, lookup in enumerate(lookups):
        settings = LookupSettings(listen=lookup, link=link, log=config.log, keys=config.keys)
        role = "lookup" if number == 0 else f"lookup-{number + 1}"
        specs.append(ChildSpec(role, "broker.lookup", msgspec.json.encode(settings)))
    if page is not None:
        web = WebSettings(
            listen=str(page.address),
            link=link,
            lookups=len(lookups),
            token=page.token,
            wall_offset=wall_offset,
            log=config.log,
        )
        specs.append(ChildSpec("web", "broker.web", msgspec.json.encode(web), expendable=True))
    if config.mdns and not config.keys and not is_local(listen_at[0].host) and find_spec("zeroconf") is not None:
        announcer = AnnouncerSettings(listen=listen, log=config.log)
        specs.append(ChildSpec("announcer", "broker.announcer", msgspec.json.encode(announcer)))
    return specs
