"""The tracker that a ``share`` runs beside its peer, where none is configured and none is found; and the keys that any
tracker started by this user on this machine has: where there is a key folder, a ``share`` does not open a network
without keys, and the folder lets in the peers of this user.

The only module of `node` that imports `broker`: the processes are those of any tracker, under a supervisor of this
process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from broker.config import TrackerConfig, load_config
from broker.tracker import Tracker
from node.config import DEFAULT_TRACKER, PeerSettings
from node.disk.errors import disk_error
from node.identity import check_identity_private
from node.rendezvous import answers
from protocol.endpoints import reachable_here
from protocol.errors import ConfigError, NetworkError
from service.key_folder import KeyFolder

START_SECONDS = 10.0
POLL_SECONDS = 0.05
TAKEN_SECONDS = 2.0
"""How long another program that has a port may take until it answers as a tracker: it may be starting."""
FREE_PORTS = "tcp://*:0"
READY_NAME = "tracker.ready"


class OwnTracker:
    """A tracker that serves from now on, at ``endpoint`` as this machine dials it: `poll` it now and then, `stop` it at
    the end, which leaving its block does. ``ready`` is a file of its own, not there yet. Raises `NetworkError` when a
    port cannot be had, `ConfigError` when its keys cannot be used."""

    def __init__(self, config: TrackerConfig, ready: Path) -> None:
        self.keys = config.keys
        """Its key folder; empty: none."""
        self.key = KeyFolder(Path(config.keys)).load().public if config.keys else ""
        """Its public key; empty: none."""
        self._tracker = Tracker(config, ready)
        self.endpoint = reachable_here(self._tracker.listen)
        try:
            self._tracker.supervisor.start()
            self._await(ready)
        except BaseException:
            self.stop()
            raise

    def _await(self, ready: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            code = self.poll(POLL_SECONDS)
            if code is not None or time.monotonic() > deadline:
                what = "did not serve in time" if code is None else f"ended with exit code {code}"
                raise NetworkError(f"the tracker of this command {what}; its messages above may say why")

    def poll(self, timeout: float) -> int | None:
        """Restart what died, waiting up to ``timeout`` seconds for it; an exit code when it cannot go on."""
        return self._tracker.supervisor.poll(timeout)

    def stop(self) -> None:
        """End its processes and let go of its ports. Twice is once."""
        try:
            self._tracker.supervisor.stop()
        finally:
            self._tracker.close()

    def __enter__(self) -> OwnTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def run_tracker(settings: PeerSettings, key: str, runtime_dir: Path, tell: Callable[[str], None]) -> OwnTracker | None:
    """A tracker at the default ports or, where another program has them, at free ones. None when another tracker serves
    at the default ports by now. ``settings``, the public ``key`` and ``runtime_dir`` are those of the peer beside it,
    which is let in. Raises `NetworkError`, `DiskError`, `ConfigError` (others may read that peer's secret key, for
    example), and `UsageError` when the key was revoked."""
    ready = runtime_dir / READY_NAME
    folder = own_keys()
    config = TrackerConfig(mdns=settings.mdns, web="", log=settings.log, keys=str(folder.path) if folder else "")
    if folder is not None:
        let_in_to_share(folder, key, settings)
    try:
        return OwnTracker(config, ready)
    except NetworkError as error:
        deadline = time.monotonic() + TAKEN_SECONDS
        while time.monotonic() < deadline:
            if answers(DEFAULT_TRACKER):
                return None
            time.sleep(POLL_SECONDS)
        why = str(error).partition(";")[0]
    tell(f"{why}, and no tracker answers at {DEFAULT_TRACKER}; taking free ports")
    return OwnTracker(msgspec.structs.replace(config, listen=FREE_PORTS), ready)


def own_keys() -> KeyFolder | None:
    """The key folder that a tracker started by this user heeds; None: there is none. Raises `ConfigError`."""
    keys = load_config(None, None).keys
    return KeyFolder(Path(keys)) if keys else None


def let_in(folder: KeyFolder, key: str, settings: PeerSettings) -> str:
    """Let the peer with the public ``key`` and ``settings`` into the network of ``folder``; the tracker's public key.
    Raises `ConfigError` when this user cannot use the folder, or others may read the peer's secret key, `UsageError`
    when the key was revoked, and `DiskError`."""
    check_identity_private(settings.data_path)
    tracker_key = folder.load().public
    try:
        folder.admit(key, settings.peer_name)
    except OSError as error:
        raise disk_error(error, "write", error.filename or folder.members_path) from error
    return tracker_key


def let_in_to_share(folder: KeyFolder, key: str, settings: PeerSettings) -> str:
    """`let_in` for a peer that shares: where this user cannot use the folder, the error says how to do without."""
    try:
        return let_in(folder, key, settings)
    except ConfigError as error:
        raise ConfigError(f"{error}; to share without keys, set ZSWARM_KEYS=none") from None
