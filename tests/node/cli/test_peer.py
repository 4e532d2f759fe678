"""list, peers, status, remove, limit, leave, join, stop against a fake peer."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from node.api_messages import (
    ApiDone,
    ApiGetStatus,
    ApiJoin,
    ApiLeave,
    ApiLimit,
    ApiLimits,
    ApiList,
    ApiListReply,
    ApiPeers,
    ApiPeersReply,
    ApiRemove,
    ApiStandings,
    ApiStandingsReply,
    ApiStop,
    SharedStatus,
    StatusReport,
)
from node.client.services import real_services
from node.identity import DataDirLock
from node.rate_limit import RateLimits
from node.stored import Stored
from protocol.messages import DownloadState, PeerEntry, StandingEntry, TorrentEntry
from tests.node.cli.fakes import DIGEST, LINK, MIB, FakeClient, World, download, job, peer_with, report

ENTRY = TorrentEntry("model.bin", 100 * MIB, DIGEST, DIGEST, 3, 2, 5)
PEER = PeerEntry("0123456789abcdef", "lab7", "tcp://10.0.0.7:5600", 3, 1, 1, 4)
SHARED = SharedStatus("model.bin", DIGEST, LINK, 100 * MIB, "/data/model.bin", "shared", 250 * MIB, 2)
NOW = 1.7e9


def listing(*entries: TorrentEntry, settling: bool = False) -> World:
    return World(FakeClient({ApiList: ApiListReply(1, settling, list(entries), NOW)}))


def test_list_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    newer = int((NOW - 3 * 3_600) * 1e6)
    world = listing(TorrentEntry("b" * 200, 5, DIGEST, DIGEST, 1, 0, 0, newer), ENTRY)
    assert world.run("list", "mod") == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "SIZE", "HAVE", "PARTLY", "WANTED", "AGE", "DIGEST"]
    assert first.startswith("b" * 200 + " ")
    assert "  3h 00m  blake3" in first
    assert second.split() == ["model.bin", "100.0", "MiB", "3", "2", "5", "-", "blake3:abababababab"]
    assert world.client is not None
    assert world.client.asked(ApiList) == [ApiList(1, "mod")]


def test_of_several_contents_with_one_name_the_newest_is_first(capsys: pytest.CaptureFixture[str]) -> None:
    ages = [5, 9, 7]
    entries = [msgspec.structs.replace(ENTRY, announced=age, manifest=f"blake3:{age:064x}") for age in ages]
    assert listing(*entries).run("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["announced"] for entry in found["entries"]] == [9, 7, 5]


CYRILLIC = "m\u043edel.bin"
LOOK_ALIKES = [msgspec.structs.replace(ENTRY, name=name) for name in ("model.bin", "modem.bin", CYRILLIC, "модель")]


def test_names_that_look_alike_stand_together_and_can_be_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing(*LOOK_ALIKES).run("list") == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["NAME", "model.bin", r"m\u043edel.bin", "modem.bin", "модель"]
    assert listing(*LOOK_ALIKES).run("list", "--json") == 0
    assert CYRILLIC in [entry["name"] for entry in json.loads(capsys.readouterr().out)["entries"]]


def test_peers_that_look_alike_can_be_told_apart_too(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["lab1", "lab2", "lab1 ", "l\u0430b1"]
    peers = [msgspec.structs.replace(PEER, name=name) for name in names]
    world = World(FakeClient({ApiPeers: ApiPeersReply(1, False, peers)}))
    assert world.run("peers") == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["NAME", "lab1", r"lab1\x20", r"l\u0430b1", "lab2"]


def test_a_name_is_taken_as_it_was_shown() -> None:
    world = World(FakeClient({ApiList: ApiListReply(1, False, [LOOK_ALIKES[2]]), ApiStandings: standings()}))
    assert world.run("list", r"m\u043edel*") == 0
    assert world.run("list", r"m\u043edel.bin", "--peers") == 0
    assert world.client is not None
    assert [asked.pattern for asked in world.client.asked(ApiList)] == ["m\u043edel*", CYRILLIC]
    world = World(FakeClient({ApiRemove: ApiDone(1)}))
    assert world.run("remove", r"m\u043edel.bin") == 0
    assert world.client is not None
    assert [asked.name for asked in world.client.asked(ApiRemove)] == [CYRILLIC]


def test_list_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing(ENTRY, settling=True).run("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settling"]
    assert found["entries"][0]["name"] == "model.bin"


def test_an_empty_or_settling_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing(settling=True).run("list", "nothing") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing on the network matches 'nothing'" in captured.err
    assert "may be incomplete" in captured.err


STANDINGS = [
    StandingEntry("1", "seed", "whole"),
    StandingEntry("2", "busy", "partial", DownloadState(DIGEST, "downloading", 100, 40, 20, 2)),
    StandingEntry("3", "full", None, DownloadState(DIGEST, "failed", 100, 40, reason="disk\x1b[31m full")),
    StandingEntry("4", "alone", "requesting", DownloadState(DIGEST, "resolving", 100, reason="no peer has it")),
    StandingEntry("5", "old", "requesting"),
    StandingEntry("6", "idle"),
]


def test_list_peers_says_how_each_stands(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(FakeClient({ApiList: ApiListReply(1, False, [ENTRY]), ApiStandings: standings()}))
    assert world.run("list", "model.bin", "--peers") == 0
    captured = capsys.readouterr()
    header, *rows = [" ".join(line.split()) for line in captured.out.splitlines()]
    assert header == "NAME STATE DONE RATE LEFT SOURCES DETAIL"
    assert rows == [
        "alone waits 0 % no peer has it",
        "busy fetching 40 % 20 B/s 3.0 s 2",
        r"full failed disk\x1b[31m full",
        "idle has not",
        "old waits",
        "seed has it 100 % verified",
    ]
    assert captured.err == "1 of 6 peers have it; 1 failed, 1 fetching, 1 has not, 2 waits\n"
    assert world.client is not None
    assert world.client.asked(ApiList) == [ApiList(1, "model.bin", exact=True)]
    assert world.client.asked(ApiStandings) == [ApiStandings(2, DIGEST)]


def test_list_peers_takes_a_whole_digest_that_nobody_lists(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(FakeClient({ApiStandings: standings()}))
    assert world.run("list", DIGEST, "--peers", "--json") == 0
    found = {peer["name"]: peer for peer in json.loads(capsys.readouterr().out)["peers"]}
    assert found["seed"] == {"peer": "1", "name": "seed", "state": "has it", "percent": 100}
    assert (found["busy"]["seconds_left"], found["busy"]["sources"]) == (3.0, 2)
    assert (found["full"]["state"], found["full"]["reason"]) == ("failed", "disk\x1b[31m full")


def test_list_peers_takes_the_newest_content_of_a_name_that_somebody_has_whole() -> None:
    older, newer = (msgspec.structs.replace(ENTRY, digest="blake3:" + each * 32, announced=at) for each, at in NEWS)
    nobodys = msgspec.structs.replace(ENTRY, digest="blake3:" + "ef" * 32, announced=9_000, have=0)
    world = World(FakeClient({ApiList: ApiListReply(1, False, [older, newer, nobodys]), ApiStandings: standings()}))
    assert world.run("list", "model.bin", "--peers") == 0
    assert world.client is not None
    assert [asked.digest for asked in world.client.asked(ApiStandings)] == [newer.digest]
    assert "3 contents are called model.bin; this is about the newest" in world.told[-1]


def test_list_peers_takes_what_get_takes_where_nobody_has_any_whole() -> None:
    part, nobodys = (
        msgspec.structs.replace(ENTRY, digest="blake3:" + each * 32, announced=at, have=0, partial=partial)
        for each, at, partial in (("ab", 1_000, 1), ("cd", 2_000, 0))
    )
    world = World(FakeClient({ApiList: ApiListReply(1, False, [nobodys, part]), ApiStandings: standings()}))
    assert world.run("list", "model.bin", "--peers") == 0
    assert world.client is not None
    assert [asked.digest for asked in world.client.asked(ApiStandings)] == [part.digest]


NEWS = (("ab", 1_000), ("cd", 2_000))


def test_list_peers_needs_one_content(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing(settling=True).run("list", "model.bin", "--peers") == 3
    assert "nobody in the network has model.bin; the tracker has only just" in capsys.readouterr().err
    assert listing().run("list", "--peers") == 2


def standings() -> ApiStandingsReply:
    return ApiStandingsReply(1, False, STANDINGS)


def test_a_hostile_name_cannot_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = TorrentEntry("\x1b[31m[red]x\n\u202e", 5, DIGEST, DIGEST, 1, 0, 0)
    assert listing(hostile).run("list") == 0
    assert r"\x1b[31m[red]x\n\u202e" in capsys.readouterr().out


def test_peers(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report(), ApiPeers=ApiPeersReply(1, False, [PEER]))
    assert world.run("peers") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["lab7", "tcp://10.0.0.7:5600", *"3114", "01234567"]
    assert world.run("peers", "--json") == 0
    assert json.loads(capsys.readouterr().out)["peers"][0]["peer"] == PEER.peer


def test_peers_that_not_all_trackers_see(capsys: pytest.CaptureFixture[str]) -> None:
    other = msgspec.structs.replace(PEER, peer="f" * 32, name="other")
    reply = ApiPeersReply(1, False, [PEER, other], seen_by={other.peer: ["tcp://10.0.0.2:5550"]})
    world = peer_with(report(), ApiPeers=reply)
    assert world.run("peers") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.endswith("SEEN BY ONLY")
    assert [row.split()[-1] for row in rows] == ["01234567", "tcp://10.0.0.2:5550"]
    assert world.run("peers", "--json") == 0
    assert json.loads(capsys.readouterr().out)["seen_by"] == {other.peer: ["tcp://10.0.0.2:5550"]}


def test_status_tells_all(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(phase="downloading", download=download()), job("share", number=2)]
    assert peer_with(report(jobs, [SHARED], sent_bytes=250 * MIB, bad_messages=2)).run("status") == 0
    out = capsys.readouterr().out
    for text in ("lab7  0123456789abcdef", "joined, tcp://10.0.0.1:5550", "tcp://10.0.0.7:5600", "250.0 MiB"):
        assert text in out
    for text in ("downloading", "40 %", "20.0 MiB/s", "2 sources", "agent 11", "2 bad messages", LINK):
        assert text in out


@pytest.mark.parametrize("network", ["joining", "unreachable", "left"])
def test_status_outside_the_network(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report(network=network)).run("status") == 0
    assert network in capsys.readouterr().out


def test_status_asks_for_all_pages(capsys: pytest.CaptureFixture[str]) -> None:
    others = [msgspec.structs.replace(SHARED, name=f"other{number}") for number in range(2)]
    world = peer_with(
        report([job()], [SHARED], more=2, shared_count=3),
        report([], others[:1], more=3, shared_count=3),
        report([], others[1:], shared_count=3),
    )
    assert world.run("status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in found["shared"]] == ["model.bin", "other0", "other1"]
    assert len(found["jobs"]) == 1
    assert world.client is not None
    assert [asked.first for asked in world.client.asked(ApiGetStatus)] == [0, 2, 3]


def test_status_json_is_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report([job()], [SHARED])).run("status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["jobs"][0]["download"]["received_bytes"] == 100 * MIB
    assert found["shared"][0]["link"] == LINK
    assert "id" not in found


def test_watching_status_without_a_terminal_repeats_it_until_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report())
    world.interrupt_after = 2
    assert world.run("status", "--watch", "--json") == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["lab7"] * 3


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["remove", "model.bin"], ApiRemove(1, "model.bin", str(Path("model.bin").absolute()))),
        (["leave"], ApiLeave(1)),
    ],
)
def test_commands_that_only_tell(argv: list[str], message: object, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(FakeClient({type(message): ApiDone(1, "done so")}))
    assert world.run(*argv) == 0
    assert world.client is not None
    assert world.client.requests[0] == message
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "done so\n")


HOLDS = RateLimits(10 * MIB, 0)


def limited() -> World:
    return World(FakeClient({ApiLimit: ApiLimits(1, HOLDS)}))


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--up", "10MiB/s", "--down", "0"], ApiLimit(1, 10 * MIB, 0)),
        (["--up", "8mbit"], ApiLimit(1, 1_000_000, None)),
        (["--down", "512"], ApiLimit(1, None, 512)),
        ([], ApiLimit(1)),
    ],
)
def test_limit_tells_what_holds_then(options: list[str], asked: ApiLimit, capsys: pytest.CaptureFixture[str]) -> None:
    world = limited()
    assert world.run("limit", *options) == 0
    assert world.client is not None
    assert world.client.requests == [asked]
    captured = capsys.readouterr()
    assert captured.out == "up 10.0 MiB/s, down unlimited\n"
    assert ("until the peer stops or its schedule changes them" in captured.err) == bool(options)


def test_limit_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert limited().run("limit", "--up", "10MiB/s", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"upload_rate": 10 * MIB, "download_rate": 0, "why": ""}
    assert captured.err == ""
    assert limited().run("limit", "--up", "10MiB/s", "--quiet") == 0
    assert capsys.readouterr() == ("up 10.0 MiB/s, down unlimited\n", "")


@pytest.mark.parametrize("rate", ["fast", "-1", "40mb", "", "nan"])
def test_a_limit_that_is_no_rate_is_refused_before_anything_is_asked(
    rate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = limited()
    assert world.run("limit", "--up", "1", "--down", rate) == 2
    assert "'--down'" in capsys.readouterr().err
    assert world.client is not None
    assert world.client.requests == []


def test_a_limit_without_a_peer_is_a_network_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("limit", "--up", "1") == 4
    assert "no peer runs on" in capsys.readouterr().err


def test_status_tells_of_limits_that_are_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report()).run("status") == 0
    assert "limits" not in capsys.readouterr().out
    assert peer_with(report(limits=HOLDS)).run("status") == 0
    assert "limits     up 10.0 MiB/s, down unlimited\n" in capsys.readouterr().out
    assert peer_with(report(limits_why="as configured, until mon 08:00")).run("status") == 0
    assert "limits     up unlimited, down unlimited (as configured, until mon 08:00)\n" in capsys.readouterr().out
    assert peer_with(report(limits=HOLDS)).run("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["limits"] == {"upload_rate": 10 * MIB, "download_rate": 0}


def test_join_returns_when_the_peer_is_a_member(capsys: pytest.CaptureFixture[str]) -> None:
    states = [report(network=network) for network in ("joining", "unreachable", "joining", "joined")]
    world = World(FakeClient({ApiGetStatus: list(states)}))
    assert world.run("join") == 0
    assert world.client is not None
    assert len(world.client.asked(ApiJoin)) == 1
    assert len(world.client.asked(ApiGetStatus)) == 4
    assert capsys.readouterr().err == "joined the network of tcp://10.0.0.1:5550\n"


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (report(network="joining"), "has not admitted it yet"),
        (report(network="unreachable", problem="tracker tcp://t:5: no answer"), "tracker tcp://t:5: no answer"),
        (report(network="refused", problem="another peer has this identity"), "another peer has this identity"),
    ],
)
def test_join_says_what_it_waits_for(state: StatusReport, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(FakeClient({ApiGetStatus: state}))
    assert world.run("join") == 4
    assert why in capsys.readouterr().err


def test_status_warns_of_an_address_that_others_cannot_dial(capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report(reach_problem="it serves at 127.0.0.1 only")).run("status") == 0
    assert "it serves at 127.0.0.1 only" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["status"], ["get", "model.bin"]])
def test_a_peer_whose_agent_is_being_restarted_is_waited_for(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = peer_with(report([job()]))
    world.listens_after, world.free_after = 3, 10_000
    assert world.run(*command) == 0
    assert world.told == []


@pytest.mark.parametrize("command", [["status"], ["get", "model.bin"]])
def test_a_data_directory_in_use_by_a_peer_that_never_answers_is_a_network_error(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    world = peer_with(report())
    world.listens_after = world.free_after = 10_000
    assert world.run(*command) == 4
    assert "has not answered for 15 s; its log says why" in capsys.readouterr().err
    (told,) = world.told
    assert "to start or to end, up to 15 s" in told


def test_a_peer_that_was_only_ending_is_not_waited_for_when_it_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report())
    world.listens_after, world.free_after = 10_000, 2
    assert world.run("status") == 4
    assert world.waits == 2
    assert "no peer runs" in capsys.readouterr().err


def test_looking_for_a_peer_leaves_no_trace_of_a_data_directory(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert real_services(print).is_free(data_dir)
    assert not data_dir.exists()
    with DataDirLock(data_dir):
        assert not real_services(print).is_free(data_dir)
    assert real_services(print).is_free(data_dir)


def test_stop_returns_when_the_peer_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report())
    world.free_after = 3
    assert world.run("stop") == 0
    assert world.waits == 3
    assert world.client is not None
    assert world.client.asked(ApiStop) == [ApiStop(1)]
    assert capsys.readouterr().err.endswith("the peer has stopped\n")


def test_stop_does_not_wait_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report())
    world.free_after = 10_000
    assert world.run("stop") == 4
    assert "still shutting down" in capsys.readouterr().err


def test_without_a_peer_status_tells_what_is_stored_and_remove_removes_it(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    world.stored = Stored([job(phase="interrupted", detail="'get' continues it", download=None)], [SHARED])
    assert world.run("status") == 4
    captured = capsys.readouterr()
    assert "'get' continues it" in captured.out
    assert LINK in captured.out
    assert "not served" in captured.out
    assert "no peer runs on" in captured.err
    assert world.run("status", "--json") == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["error"]["code"], found["jobs"][0]["phase"]) == (False, "network", "interrupted")
    assert world.run("remove", "model.bin") == 0
    assert world.run("remove", "nothing") == 3
    assert world.removed == ["model.bin", "nothing"]


@pytest.mark.parametrize("command", [["remove", "model.bin"], ["leave"], ["join"], ["stop"]])
def test_what_was_done_is_json_too(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report()).run(*command, "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["ok"]
    assert found["detail"]
    assert captured.err == ""
