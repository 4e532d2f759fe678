"""``share`` and ``get`` against a fake peer: what is asked, what is printed where, how they end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from node.api_messages import ApiError, ApiGet, ApiGetStatus, ApiShare, SharedStatus
from protocol.digest import format_digest, raw_digest
from protocol.errors import NetworkError
from protocol.limits import PIECE_BYTES_MIN
from protocol.manifest import Manifest, decode_manifest
from protocol.messages import TorrentEntry
from protocol.seed_formats import Seed, format_seed
from tests.node.cli.fakes import DIGEST, LINK, MIB, FakeForeground, download, job, peer_with, report

CONTENT = b"some content"
MANIFEST = Manifest(
    length=len(CONTENT),
    piece_length=PIECE_BYTES_MIN,
    digest=format_digest("blake3", raw_digest("blake3", CONTENT)),
    pieces=raw_digest("blake3", CONTENT),
    files=None,
    empty_dirs=(),
)
SEED = Seed("small.bin", MANIFEST)
SHARED = SharedStatus("model.bin", DIGEST, LINK, 100 * MIB, "/data/model.bin", "downloaded", 0, 2)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_get_asks_for_an_absolute_directory_which_it_makes(here: Path) -> None:
    world = peer_with(report([job()]))
    assert world.run("get", "model.bin", "-o", "new/place", "--force", "--sequential") == 0
    assert world.client is not None
    (asked,) = world.client.asked(ApiGet)
    assert asked == ApiGet(2, "model.bin", str(here / "new/place"), b"", True, True)
    assert (here / "new/place").is_dir()
    assert world.client.closed


@pytest.mark.parametrize(
    ("have", "said"),
    [
        ((1, 1), "model.bin: 2 contents have this name; taking the newest, blake3:111111111111, announced 3m 00s ago"),
        ((1, 0), "taking the newest, blake3:111111111111, announced 3m 00s ago; for another one get its digest"),
        ((1, 1, 1, 1, 1), "model.bin: 5 or more contents have this name"),
    ],
)
def test_get_says_which_of_several_contents_it_takes(
    have: tuple[int, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = [
        TorrentEntry("model.bin", 1, f"blake3:{number}" + f"{number}" * 63, DIGEST, whole, 1, 0, int(820e6) // number)
        for number, whole in enumerate(have, start=1)
    ]
    assert peer_with(report(), report([job(contents=contents)])).run("get", "model.bin") == 0
    err = capsys.readouterr().err
    assert said in err
    assert "blake3:222222222222 (announced 9m 50s ago)" in err
    assert peer_with(report(), report([job(contents=contents)])).run("get", "model.bin", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_get_ends_with_one_line_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report(), report([job(phase="downloading", download=download())]), report([job()]))
    assert world.run("get", "model.bin") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("/data/model.bin  100.0 MiB in 4")
    assert captured.out.endswith("25.0 MiB/s from 1 source, verified\n")
    assert "model.bin: downloading 40 %" in captured.err
    assert "\x1b" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["/old/model.bin"], "/old/model.bin"),
        (["/old/model.bin", "/a", "/b"], "/old/model.bin and 2 other places"),
    ],
)
def test_get_says_how_much_was_reused_and_its_rate_is_of_the_rest(
    places: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = job(download=download("done", 100, received_bytes=20 * MIB, reused_bytes=80 * MIB, reused_from=places))
    assert peer_with(report([done])).run("get", "model.bin") == 0
    line = capsys.readouterr().out
    assert "5.0 MiB/s from 1 source" in line
    assert line.endswith(f", reused 80.0 MiB of 100.0 MiB from {said}, verified\n")
    assert peer_with(report([done])).run("get", "model.bin", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["reused_bytes"], result["reused_from"]) == (80 * MIB, places)
    assert peer_with(report([done])).run("status") == 0
    assert "80.0 MiB from other content on this machine" in capsys.readouterr().out


def test_get_json_is_one_object_and_messages_are_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report([job()])).run("get", "model.bin", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    (result,) = found["results"]
    assert result["path"] == "/data/model.bin"
    assert (result["target"], result["verified"], result["sources"], result["seconds"]) == ("model.bin", True, 1, 4.0)


def test_get_tells_what_of_the_old_directory_could_not_be_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    detail = "not all of the old directory could be deleted: Permission denied: /data/.model.bin.part"
    done = report([job(detail=detail)])
    assert peer_with(done).run("get", "model.bin", "--force") == 0
    assert capsys.readouterr().err.endswith(f"/data/model.bin is complete, but {detail}; delete that by hand\n")
    assert peer_with(done).run("get", "model.bin", "--force", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["ok"], result["detail"]) == (True, detail)
    assert peer_with(done).run("status") == 0
    assert f"/data/model.bin; {detail}" in capsys.readouterr().out


def test_get_quiet_says_only_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report([job()])).run("get", "-q", "model.bin") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("/data/model.bin\n", "")


@pytest.mark.parametrize("format", ["text", "msgpack"])
def test_get_takes_a_seed_file_by_its_content(here: Path, format: str) -> None:
    (here / "anything.txt").write_bytes(format_seed(SEED, format))
    world = peer_with(report([job()]))
    assert world.run("get", "anything.txt") == 0
    assert world.client is not None
    (asked,) = world.client.asked(ApiGet)
    assert Seed(asked.name, decode_manifest(asked.seed)) == SEED


@pytest.mark.parametrize(
    ("name", "target"), [("broken.seed", "broken.seed"), ("broken.txt", "./broken.txt"), ("cut.seed", "cut.seed")]
)
def test_a_garbled_or_cut_seed_file_is_refused_before_anyone_is_asked(
    here: Path, name: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / name).write_bytes(format_seed(SEED, "msgpack")[:-9] if name == "cut.seed" else b"\x93garbage\xff")
    world = peer_with(report())
    assert world.run("get", target) == 2
    assert f"error: {target}: not a usable seed" in capsys.readouterr().err
    assert world.client is not None
    assert world.client.requests == []


def test_a_file_that_is_no_seed_leaves_its_name_a_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "model.bin").write_bytes(b"\x93garbage\xff")
    world = peer_with(report([job(phase="failed", code="not_found", detail="nobody has it", download=None)]))
    assert world.run("get", "model.bin") == 3
    assert "nobody has it (the file of that name here is not a seed:" in capsys.readouterr().err


def test_get_takes_a_name_as_it_was_shown(here: Path) -> None:
    world = peer_with(report([job(name="m\u043edel.bin")]))
    assert world.run("get", r"m\u043edel.bin", "-o", str(here)) == 0
    assert world.client is not None
    assert [asked.target for asked in world.client.asked(ApiGet)] == ["m\u043edel.bin"]


@pytest.mark.parametrize(
    ("target", "code"), [("zswarm://nonsense", 2), ("missing/x.seed", 3), (f"zswarm://{DIGEST}/{DIGEST}/5/a%2Fb", 2)]
)
def test_bad_targets_are_refused_at_once(target: str, code: int) -> None:
    assert peer_with(report()).run("get", target) == code


def test_an_output_that_is_a_file_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "taken").write_text("")
    assert peer_with(report()).run("get", "model.bin", "-o", "taken") == 6
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["away", "away/below"])
def test_an_output_that_leads_nowhere_is_refused_as_that(
    given: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "away").symlink_to("/mnt/gone")
    assert peer_with(report()).run("get", "model.bin", "-o", given) == 6
    assert f"{here}/away is a symbolic link to /mnt/gone, which does not exist; create that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "exit_code"), [("not_found", 3), ("network", 4), ("verification", 5), ("disk", 6), ("bad_seed", 2)]
)
def test_a_failed_get_has_the_exit_code_of_its_reason(
    code: str, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = job(phase="failed", code=code, detail="that went wrong; do this")
    assert peer_with(report([failed])).run("get", "model.bin") == exit_code
    assert capsys.readouterr().err == "error: model.bin: that went wrong; do this\n"


def test_of_several_targets_each_has_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(name="a", path="/d/a"), job(number=2, name="b", phase="failed", code="disk", detail="no space")]
    assert peer_with(report(jobs)).run("get", "a", "b", "--json") == 6
    found = json.loads(capsys.readouterr().out)
    assert [(row["target"], row["ok"]) for row in found["results"]] == [("a", True), ("b", False)]
    assert not found["ok"]


def test_a_failure_that_names_its_target_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(name="a", path="/d/a", phase="failed", code="disk", detail="a is neither a file nor a directory")]
    assert peer_with(report(jobs)).run("get", "a") == 6
    assert capsys.readouterr().err.endswith("error: a is neither a file nor a directory\n")


def test_a_refused_target_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([ApiError(1, "disk", "exists with other content"), None])

    def answer(message: ApiGet) -> ApiError:
        from node.api_messages import ApiAccepted

        return next(answers) or ApiAccepted(message.id, 1)  # type: ignore[return-value]

    world = peer_with(report([job(name="b", path="/d/b")]), ApiGet=answer)  # type: ignore[arg-type]
    assert world.run("get", "a", "b") == 6
    captured = capsys.readouterr()
    assert captured.out.startswith("/d/b ")
    assert captured.err == "error: a: exists with other content\n"


def test_get_gives_up_after_its_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report([job(phase="waiting", download=None)]))
    assert world.run("get", "model.bin", "--timeout", "2s") == 4
    assert re.search("not finished after 2.*continues in the running peer", capsys.readouterr().err)


@pytest.mark.parametrize("phase", ["resolving", "waiting"])
def test_a_get_that_gives_up_says_what_it_waited_for(phase: str, capsys: pytest.CaptureFixture[str]) -> None:
    problem = "tracker tcp://10.0.0.1:5550: no answer"
    world = peer_with(report([job(phase=phase, download=None)], network="unreachable", problem=problem))
    assert world.run("get", "model.bin", "--timeout", "2s") == 4
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.search("not finished after 2.*: tracker tcp://10.0.0.1:5550: no answer; .*continues", said)


def test_interrupting_get_says_that_the_download_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report([job(phase="downloading")]))
    world.interrupt_after = 3
    assert world.run("get", "model.bin") == 130
    assert "the download continues in the running peer" in capsys.readouterr().err


def test_interrupting_get_tells_what_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(number=1, path="/d/model.bin"), job(phase="downloading", number=2)]
    for options in ([], ["--json"]):
        world = peer_with(report(jobs))
        world.interrupt_after = 3
        assert world.run("get", "model.bin", "other.bin", *options) == 130
    plain, as_json = capsys.readouterr().out.splitlines()
    assert plain.startswith("/d/model.bin  ")
    found = json.loads(as_json)
    assert (found["ok"], [result["target"] for result in found["results"]]) == (False, ["model.bin"])


def test_a_restarted_agent_is_waited_for_and_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    other = job(number=1, phase="failed", code="disk", detail="another job")
    pids = {"agent": 99}
    again = job(number=2, phase="downloading", download=download(done=90), seconds=3.0)
    world = peer_with(
        report(),
        report([job(phase="downloading")]),
        NetworkError("silent"),
        report([other], pids=pids),
        report([other, again], pids=pids),
        report([other, msgspec.structs.replace(again, phase="done", download=None)], pids=pids),
    )
    world.free_after = 10_000
    assert world.run("get", "model.bin", "--json") == 0
    assert world.client is not None
    assert [asked.target for asked in world.client.asked(ApiGet)] == ["model.bin", "model.bin"]
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert {tuple(asked.jobs or ()) for asked in world.client.asked(ApiGetStatus)} == {(), (1,), (2,)}
    assert 3.0 < result["seconds"] < 4.0, "what the first job took until it was asked for again counts too"
    assert (result["sources"], round(result["rate"] * result["seconds"] / MIB)) == (1, 100)


@pytest.mark.parametrize("last", [NetworkError("no answer from the peer"), report()])
def test_a_peer_that_stays_silent_or_forgets_is_a_network_error(
    last: NetworkError, capsys: pytest.CaptureFixture[str]
) -> None:
    world = peer_with(report(), report([job(phase="downloading")]), last)
    world.free_after = 10_000
    assert world.run("get", "model.bin") == 4
    assert capsys.readouterr().err.count("error: ") == 1


@pytest.mark.parametrize(("command", "then"), [(["get"], "same command continues it too"), (["share"], "runs one")])
def test_a_peer_that_has_stopped_is_said_at_once_and_how_to_go_on(
    command: list[str], then: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "model.bin").write_bytes(b"x")
    kind = command[0]
    world = peer_with(report(), report([job(kind, phase="checking")]), NetworkError("nobody listens"))
    world.free_after = 3
    assert world.run(*command, "model.bin") == 4
    assert world.now < 5
    said = capsys.readouterr().err.splitlines()[-1]
    assert " has stopped; " in said
    assert then in said


def test_share_prints_the_link_and_nothing_else(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "model.bin").write_bytes(b"x")
    world = peer_with(
        report(),
        report([job("share", "checking", link="", done_bytes=20 * MIB)]),
        report([job("share", "waiting", link="")]),
        report([job("share")]),
    )
    assert world.run("share", "model.bin", "--hash", "sha256") == 0
    captured = capsys.readouterr()
    assert captured.out == LINK + "\n"
    assert "hashing 20 %" in captured.err
    assert "announcing" in captured.err
    assert world.client is not None
    assert world.client.asked(ApiShare) == [ApiShare(2, str(here / "model.bin"), "sha256")]


def test_share_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "model.bin").write_bytes(b"x")
    assert peer_with(report([job("share")])).run("share", "model.bin", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"][0]["link"] == LINK


def test_share_of_what_is_not_there_asks_nobody() -> None:
    world = peer_with(report())
    assert world.run("share", "missing") == 3
    assert world.client is not None
    assert world.client.requests == []


def test_get_without_a_peer_runs_one_until_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report([job(phase="downloading")]), report([job()]))
    world.foreground = FakeForeground()
    assert world.run("get", "model.bin") == 0
    assert world.foreground.events == ["start", "stop"]
    assert world.foreground.settings is not None
    assert world.foreground.settings.log.level == "error"
    assert capsys.readouterr().out.startswith("/data/model.bin")


def test_interrupting_a_foreground_get_stops_its_peer(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report([job(phase="downloading")]))
    world.foreground = FakeForeground()
    world.interrupt_after = 3
    assert world.run("get", "model.bin") == 130
    assert world.foreground.events == ["start", "stop"]
    assert "the same command continues" in capsys.readouterr().err


def test_a_foreground_peer_that_cannot_start_is_an_error() -> None:
    world = peer_with(report())
    world.foreground = FakeForeground(ends_with=6)
    assert world.run("get", "model.bin") == 6
    assert world.foreground.events == ["start", "stop"]


@pytest.mark.parametrize("command", [["share", "model.bin"], ["get", "other.bin", "--keep-serving"]])
def test_a_foreground_peer_serves_until_it_is_interrupted(
    here: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "model.bin").write_bytes(b"x")
    world = peer_with(report([job(command[0])], [SHARED]))
    world.foreground = FakeForeground()
    world.interrupt_after = 5
    assert world.run(*command) == 0
    assert world.foreground.events == ["start", "stop"]
    assert "serving until Ctrl-C" in capsys.readouterr().err


def test_a_foreground_peer_says_when_others_cannot_fetch_from_it_and_when_they_can_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "model.bin").write_bytes(b"x")
    fine = report([job("share")], [SHARED])
    lost = report([], [SHARED], network="unreachable", problem="tracker tcp://10.0.0.1:5550: connection lost")
    joining = report([], [SHARED], network="joining")
    hidden = report([], [SHARED], reach_problem="it serves at 127.0.0.1 only")
    stuck = report([], [SHARED], silent_seconds={"piece_server": 12.0})
    world = peer_with(fine, fine, lost, lost, joining, fine, hidden, hidden, stuck, fine)
    world.foreground = FakeForeground()
    world.interrupt_after = 10
    assert world.run("share", "model.bin") == 0
    assert capsys.readouterr().err.splitlines()[-6:] == [
        "tracker tcp://10.0.0.1:5550: connection lost",
        "others can fetch from this peer again",
        "it serves at 127.0.0.1 only",
        "no news from the piece server for over 10 s",
        "others can fetch from this peer again",
        "leaving the network",
    ]


def test_a_foreground_share_that_failed_does_not_serve(here: Path) -> None:
    (here / "model.bin").write_bytes(b"x")
    world = peer_with(report([job("share", "failed", code="disk", detail="cannot read it")]))
    world.foreground = FakeForeground()
    assert world.run("share", "model.bin") == 6


def test_of_two_commands_that_start_a_peer_one_uses_the_others() -> None:
    world = peer_with(report([job()]))
    world.foreground = FakeForeground()
    world.foreground.taken = 2
    assert world.run("get", "model.bin") == 0
    assert world.foreground.events == ["stop", "stop", "start", "stop"]


def test_a_command_goes_on_with_its_own_peer_when_that_of_another_has_ended() -> None:
    borrowed = report([job(phase="downloading")], foreground=True)
    gone = NetworkError("no peer runs there")
    own = report([job(phase="downloading", number=2)], pids={"agent": 99}, foreground=True)
    world = peer_with(borrowed, borrowed, gone, own, own, report([job(number=2)], pids={"agent": 99}, foreground=True))
    world.foreground = FakeForeground()
    world.lent = True
    assert world.run("get", "model.bin") == 0
    assert world.foreground.events == ["start", "stop"]
    assert world.client is not None
    assert [asked.target for asked in world.client.asked(ApiGet)] == ["model.bin", "model.bin"]


def test_what_a_command_shares_is_shared_by_the_peer_that_took_the_place_of_the_one_it_used(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "model.bin").write_bytes(b"x")
    first = report([job("share")], [SHARED], foreground=True)
    other = report([], [], pids={"agent": 99}, foreground=True)
    own = report([job("share", number=2)], [SHARED], pids={"agent": 99}, foreground=True)
    world = peer_with(first, first, first, other, own)
    world.interrupt_after = 20
    assert world.run("share", "model.bin") == 0
    assert world.client is not None
    assert len(world.client.asked(ApiShare)) == 2
    assert "not serving" not in capsys.readouterr().err


def test_a_share_by_the_peer_of_another_command_lasts_until_it_is_interrupted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "model.bin").write_bytes(b"x")
    world = peer_with(report([job("share")], [SHARED], foreground=True))
    world.interrupt_after = 5
    assert world.run("share", "model.bin") == 0
    assert "serving until Ctrl-C" in capsys.readouterr().err
