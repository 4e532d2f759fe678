"""`node.own_tracker`: whom it lets in. That it serves is in `tests.outside.test_share_with_keys`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import node.peer
from node.config import PeerSettings
from node.identity import IDENTITY_NAME, load_identity
from node.own_tracker import run_tracker
from node.peer import Peer
from protocol.errors import ConfigError, NetworkError
from service.key_folder import KeyFolder


def test_a_peer_whose_key_others_may_read_is_not_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, data_dir = KeyFolder(tmp_path / "keys"), tmp_path / "data"
    folder.make()
    monkeypatch.setenv("ZSWARM_KEYS", str(folder.path))
    key = load_identity(data_dir).keys.public
    (data_dir / IDENTITY_NAME).chmod(0o644)
    with pytest.raises(ConfigError, match="open to other users"):
        run_tracker(PeerSettings(data_dir=str(data_dir)), key, tmp_path, lambda _: None)
    assert folder.members() == {}


def test_with_keys_no_tracker_is_used_that_is_announced_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = KeyFolder(tmp_path / "keys")
    folder.make()
    monkeypatch.setenv("ZSWARM_KEYS", str(folder.path))
    monkeypatch.setattr(node.peer, "has_keys_at", lambda _: None)
    monkeypatch.setattr(node.peer, "can_search", lambda: True)
    searched: list[bool] = []
    monkeypatch.setattr(node.peer, "search", lambda: searched.append(True))

    def no_port(*_: object) -> None:
        raise NetworkError("no port")

    monkeypatch.setattr(node.peer, "run_tracker", no_port)
    settings = PeerSettings(data_dir=str(tmp_path / "data"))
    for runs_tracker in (True, False):
        peer = Peer(settings, lambda _: None, foreground=True, runs_tracker=runs_tracker)
        with contextlib.suppress(NetworkError):
            peer.prepare()
        peer.stop()
        assert not searched


def test_a_share_with_keys_it_cannot_use_goes_to_no_tracker_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who answers with keys now may be replaced by somebody without, to whom the share would go in the clear."""
    folder = KeyFolder(tmp_path / "keys")
    folder.make()
    folder.path.chmod(0o755)
    monkeypatch.setenv("ZSWARM_KEYS", str(folder.path))
    monkeypatch.setattr(node.peer, "has_keys_at", lambda _: True)
    peer = Peer(PeerSettings(data_dir=str(tmp_path / "data")), lambda _: None, foreground=True, runs_tracker=True)
    with pytest.raises(ConfigError, match=r"open to other users.*set ZSWARM_KEYS=none"):
        peer.prepare()
    peer.stop()
