"""``signing-key``, ``--sign`` and ``--signed-by`` against a fake peer: what is signed, and what is believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.api_messages import ApiError, ApiGet, ApiGetStatus, ApiList, ApiListReply, ApiReply, ApiShare
from protocol.link import parse_link
from protocol.messages import TorrentEntry
from protocol.signature import is_signed, moment_of, sign
from service.signing_keys import SigningKey, make_signing_key
from tests.node.cli.fakes import DIGEST, LINK, MIB, FakeClient, World, job, report

CONTENT = parse_link(LINK)
OTHER = f"blake3:{'cd' * 32}"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "model.bin").write_bytes(b"content")
    return tmp_path


@pytest.fixture
def key() -> SigningKey:
    return make_signing_key("release")[0]


def signed_by(*keys: str) -> ApiReply:
    """A report of two jobs, of the first that are asked for, of which the second is signed."""
    return report([job("share"), job("share", number=2, signed_by=list(keys))])


def listed(digest: str, signature: bytes) -> TorrentEntry:
    return TorrentEntry("model.bin", 100 * MIB, digest, digest, 1, 0, 0, 5, signature)


def shared(world: World) -> bytes:
    """The signature that the peer was given."""
    assert world.client is not None
    first, second = world.client.asked(ApiShare)
    assert first.signature == b""
    assert (first.path, first.options) == (second.path, second.options)
    assert is_signed(second.signature, CONTENT)
    signature: bytes = second.signature
    return signature


def test_a_key_is_made_once_and_its_public_half_printed(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert World().run("signing-key", "mine") == 0
    first = capsys.readouterr()
    assert World().run("signing-key", "mine", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["key"] == first.out.strip()
    assert (again["new"], again["file"]) == (False, str(here / "config/zswarm/signing/mine.key"))
    assert "keep it secret" in first.err
    assert World().run("signing-key", "") == 2


def test_what_the_peer_hashed_is_signed_and_handed_over(key: SigningKey, capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient({ApiGetStatus: signed_by(key.public), ApiList: ApiListReply(1, False, [])})
    world = World(client)
    assert world.run("share", "model.bin", "--sign", "release") == 0
    shared(world)
    captured = capsys.readouterr()
    assert f"signed by {key.public}" in captured.err
    assert captured.out.strip() == LINK


def test_two_keys_at_once_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("share", "model.bin", "--sign", "release", "--sign", "other") == 2
    assert "run the command once for each" in capsys.readouterr().err


def test_each_statement_is_later_than_the_last_whatever_the_clock_says(key: SigningKey) -> None:
    other = listed(OTHER, b"")
    far = 2**52
    before = [
        listed(OTHER, sign(key.secret, other, far)),
        listed(DIGEST, sign(key.secret, CONTENT, far - 9)),
        listed(OTHER, sign(b"o" * 32, other, 2**53)),
    ]
    world = World(FakeClient({ApiGetStatus: signed_by(key.public), ApiList: ApiListReply(1, False, before)}))
    assert world.run("share", "model.bin", "--sign", "release") == 0
    assert moment_of(shared(world)) == far + 1


def test_what_was_said_last_is_not_said_again(key: SigningKey) -> None:
    signature = sign(key.secret, CONTENT, 77)
    before = [listed(DIGEST, signature), listed(OTHER, sign(key.secret, listed(OTHER, b""), 76))]
    world = World(FakeClient({ApiGetStatus: signed_by(key.public), ApiList: ApiListReply(1, False, before)}))
    assert world.run("share", "model.bin", "--sign", "release") == 0
    assert shared(world) == signature


def test_where_a_flood_hides_earlier_statements_the_clock_counts(key: SigningKey) -> None:
    flooded = ApiError(1, "usage", "more than 100,000 entries match")
    world = World(FakeClient({ApiGetStatus: signed_by(key.public), ApiList: flooded}))
    assert world.run("share", "model.bin", "--sign", "release") == 0
    assert 1.7e15 < moment_of(shared(world)) < 2**53
    assert "this machine's clock counts: more than 100,000" in world.told[0]


@pytest.mark.parametrize(
    "command", [("share", "model.bin", "--sign", "release"), ("get", "model.bin", "--signed-by", "KEY")]
)
def test_a_peer_that_does_not_check_is_told_from_one_that_does(
    command: tuple[str, ...], key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = "get" if command[0] == "get" else "share"
    done = report([job(kind), job(kind, number=2)])
    world = World(FakeClient({ApiGetStatus: done, ApiList: ApiListReply(1, False, [])}))
    assert world.run(*(key.public if word == "KEY" else word for word in command)) == 7
    assert "of an older version; restart it" in capsys.readouterr().err


def test_get_says_whom_it_believes(key: SigningKey, capsys: pytest.CaptureFixture[str]) -> None:
    done = report([job(signed_by=[key.public])])
    world = World(FakeClient({ApiGetStatus: done}))
    assert world.run("get", "model.bin", "--signed-by", key.public.upper().replace("ED25519", "ed25519")) == 0
    assert world.client is not None
    (asked,) = world.client.asked(ApiGet)
    assert asked.signed_by == (key.public,)
    assert capsys.readouterr().out.endswith(f"verified, signed by {key.public[:20]}\n")
    assert World().run("get", "model.bin", "--signed-by", "ed25519:abc") == 2


def test_of_several_signed_contents_the_one_signed_last_is_said_to_be_taken(
    key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = [listed(DIGEST, sign(key.secret, CONTENT, 9)), listed(OTHER, sign(key.secret, listed(OTHER, b""), 8))]
    done = report([job(contents=contents, signed_by=[key.public])])
    assert World(FakeClient({ApiGetStatus: done})).run("get", "model.bin", "--signed-by", key.public) == 0
    assert "2 contents have this name; taking the one signed last, blake3:abababababab" in capsys.readouterr().err


def test_list_shows_who_signed_as_far_as_it_is_true(key: SigningKey, capsys: pytest.CaptureFixture[str]) -> None:
    true, false = sign(key.secret, CONTENT, 7), sign(b"o" * 32, listed(OTHER, b""), 7)
    entries = [listed(DIGEST, b""), listed(DIGEST, false), listed(DIGEST, true), listed(OTHER, b"")]
    reply = ApiListReply(1, False, entries, 1_000.0)
    assert World(FakeClient({ApiList: reply})).run("list") == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.endswith("SIGNED BY")
    assert first.endswith(key.public[:20])
    assert second.split()[-1] == "-"
    assert World(FakeClient({ApiList: reply})).run("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)["entries"]
    assert [entry["signed_by"] for entry in found] == [[key.public], []]
    assert "signature" not in found[0]
