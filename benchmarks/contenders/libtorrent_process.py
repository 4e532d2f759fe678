"""One session of `benchmarks.contenders.libtorrent`."""

from __future__ import annotations

import base64
import importlib
import time
from pathlib import Path
from typing import Any

from benchmarks.contenders.helper import Answer, serve
from protocol.limits import MIB

lt: Any = importlib.import_module("libtorrent")  # installed by who wants to compare
LOOK_MS = 200
SETTINGS = {
    "alert_mask": lt.alert.category_t.storage_notification | lt.alert.category_t.status_notification,
    **dict.fromkeys(("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp"), False),
    **dict.fromkeys(("enable_incoming_utp", "enable_outgoing_utp", "rate_limit_ip_overhead"), False),
    "allow_multiple_connections_per_ip": True,
    **dict.fromkeys(("in_enc_policy", "out_enc_policy"), 2),  # disabled
    "mixed_mode_algorithm": 0,  # prefer TCP
    "unchoke_slots_limit": -1,
    **dict.fromkeys(("connections_limit", "connection_speed", "torrent_connect_boost"), 200),
    "max_out_request_queue": 1_500,
    "max_allowed_in_request_queue": 2_000,
    "request_queue_time": 3,
    "max_queued_disk_bytes": 64 * MIB,
    "send_buffer_low_watermark": 1 * MIB,
    "send_buffer_watermark": 8 * MIB,
    "send_buffer_watermark_factor": 200,
    "peer_turnover": 0,
    "hashing_threads": 2,
    "aio_threads": 4,
    "tick_interval": 100,
    "ssrf_mitigation": False,
    "allow_multiple_connections_per_pid": True,
}


class Session:
    def __init__(self) -> None:
        self._session: Any = None
        self._torrent: Any = None

    def open(self, address: str) -> Answer:
        """Listen at ``address``; the port."""
        self._session = lt.session({**SETTINGS, "listen_interfaces": f"{address}:0"})
        deadline = time.monotonic() + 10
        while not self._session.listen_port():
            if time.monotonic() > deadline:
                raise TimeoutError("it does not listen")
            self._session.wait_for_alert(LOOK_MS)
            self._session.pop_alerts()
        return {"port": self._session.listen_port()}

    def seed(self, path: str, piece_bytes: int) -> Answer:
        """Hash ``path`` and offer it; the torrent file in base 64."""
        content = Path(path)
        files = lt.list_files(path)
        creator = lt.create_torrent(files, piece_size=piece_bytes, flags=lt.create_torrent.v1_only)
        lt.set_piece_hashes(creator, str(content.parent))
        data = lt.bencode(creator.generate())
        parameters = self._parameters(data, str(content.parent), lt.torrent_flags.seed_mode)
        self._torrent = self._session.add_torrent(parameters)
        return {"torrent": base64.b64encode(data).decode()}

    def get(self, torrent: str, directory: str, peers: list[tuple[str, int]], seconds: float) -> Answer:
        """Until all of it is verified, which is ``at`` (`time.monotonic`), and written, which may be later."""
        self._torrent = self._session.add_torrent(self._parameters(base64.b64decode(torrent), directory, 0))
        for host, port in peers:
            self._torrent.connect_peer((host, port))
        deadline = time.monotonic() + seconds
        while not self._torrent.status().is_seeding:
            self._next_alerts(deadline)
        at = time.monotonic()
        self._torrent.flush_cache()
        while not any(isinstance(alert, lt.cache_flushed_alert) for alert in self._next_alerts(deadline)):
            pass
        return {"at": at}

    def _next_alerts(self, deadline: float) -> list[Any]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done: {self._torrent.status().progress:.0%}")
        self._session.wait_for_alert(LOOK_MS)
        alerts: list[Any] = self._session.pop_alerts()
        for alert in alerts:
            if isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert)):
                raise OSError(alert.message())
        return alerts

    def traffic(self) -> Answer:
        """Bytes of content, without what TCP and the protocol add to them."""
        status = self._torrent.status()
        return {"sent": status.total_payload_upload, "received": status.total_payload_download}

    def forget(self) -> Answer:
        self._session.remove_torrent(self._torrent)
        return {}

    def _parameters(self, torrent: bytes, directory: str, flags: int) -> Any:
        parameters = lt.load_torrent_buffer(torrent)
        parameters.save_path = directory
        unwanted = lt.torrent_flags.auto_managed | lt.torrent_flags.paused | lt.torrent_flags.duplicate_is_error
        parameters.flags = (parameters.flags & ~unwanted) | flags
        return parameters


if __name__ == "__main__":
    session = Session()
    actions = ("open", "seed", "get", "traffic", "forget")
    serve({name: getattr(session, name) for name in actions})
