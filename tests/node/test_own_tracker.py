"""`node.own_tracker`: whom it lets in. That it serves is in `tests.outside.test_share_with_keys`."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.config import PeerSettings
from node.identity import IDENTITY_NAME, load_identity
from node.own_tracker import run_tracker
from protocol.errors import ConfigError
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
