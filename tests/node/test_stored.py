"""A data directory without a peer: what ``remove`` says it did is what it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.agent.library import Library
from node.api_messages import ApiDone
from node.local_messages import Fetch
from node.stored import read_stored, remove_stored

DIGEST = "blake3:" + "1" * 64


def test_what_cannot_be_deleted_is_not_called_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, seed_path in (("a", ""), ("b", str(tmp_path / "seeds" / f"{'1' * 64}.seed"))):
        download = Fetch(DIGEST, DIGEST, name, 100, str(tmp_path / "o" / name), seed_path, False, False)
        with Library(tmp_path) as library:
            library.put_download(download)
        reply = remove_stored(tmp_path, name, "", print)
        assert isinstance(reply, ApiDone)
        assert ("of it is deleted" in reply.detail, "is left" in reply.detail) == (not seed_path, bool(seed_path))
        assert read_stored(tmp_path).jobs == []
    assert "is gone" in caplog.text
