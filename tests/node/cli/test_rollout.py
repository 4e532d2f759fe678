"""``rollout`` against a fake peer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.api_messages import (
    ApiCancelRollout,
    ApiDone,
    ApiError,
    ApiList,
    ApiListReply,
    ApiOrders,
    ApiOrdersReply,
    ApiRequest,
    ApiRollout,
    ApiRolloutReply,
    ApiStandings,
    ApiStandingsReply,
)
from protocol.digest import short
from protocol.link import parse_link
from protocol.messages import DownloadState, Order, OrderEntry, StandingEntry, TorrentEntry
from protocol.signature import format_key, public_key, sign
from tests.node.cli.fakes import DIGEST, MIB, World, peer_with, report

ENTRY = TorrentEntry("model.bin", 100 * MIB, DIGEST, DIGEST, 1, 0, 0)
ORDER = Order("o1", DIGEST, DIGEST, "model.bin", 100 * MIB)
GIVER = StandingEntry(report().peer, "lab7", "whole")
DONE = DownloadState(DIGEST, "done", 100 * MIB, 100 * MIB, order="o1", attempt=1)


def world(*standings: StandingEntry, orders: tuple[OrderEntry, ...] = ()) -> World:
    replies: dict[str, Any] = {
        "ApiList": ApiListReply(1, False, [ENTRY]),
        "ApiStandings": ApiStandingsReply(1, False, [GIVER, *standings]),
        "ApiRollout": ApiRolloutReply(1, ORDER),
        "ApiOrders": ApiOrdersReply(1, False, list(orders)),
        "ApiCancelRollout": ApiDone(1, "cancelled the rollout of model.bin"),
    }
    return peer_with(report(), **replies)


def test_by_name_it_orders_and_ends_when_all_have_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    receipt = tmp_path / "r.json"
    one = world(StandingEntry("p2", "two", "whole", DONE, free=10**12))
    assert one.run("rollout", "model.bin", "--to", "t*", "--to-dir", "a", "--receipt", str(receipt)) == 0
    captured = capsys.readouterr()
    assert captured.out == "1 of 1 have it, verified, 0.0 s\n"
    first, *_, last = captured.err.splitlines()
    assert first.startswith("model.bin, 100.0 MiB, to 1 peer")
    assert last == "two: has it, 0.0 s"
    assert one.client is not None
    (asked,) = one.client.asked(ApiRollout)
    assert (asked.directory, asked.peers, asked.force) == ("a", "t*", False)
    assert one.client.asked(ApiList) == [ApiList(2, "model.bin", exact=True)]
    fields = json.loads(receipt.read_text())
    assert (fields["verdict"], fields["options"]["to_dir"], fields["peers"][0]["name"]) == ("complete", "a", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_of_a_tracker_that_has_just_started_the_newest_content_is_waited_for() -> None:
    old = msgspec.structs.replace(ENTRY, digest=f"blake3:{'ab' * 32}", announced=5)
    answers: list[Any] = [ApiListReply(1, True, [old], since=9)] * 3
    answers.append(ApiListReply(1, False, [old, msgspec.structs.replace(ENTRY, announced=7)]))
    one = world(StandingEntry("p2", "two", "whole", DONE, free=10**12))
    assert one.client is not None
    one.client.answers[ApiList] = answers
    assert one.run("rollout", "model.bin") == 0
    assert [parse_link(asked.link).digest for asked in one.client.asked(ApiRollout)] == [DIGEST]
    assert "may not list the newest content" in one.told[0]


def test_with_keys_in_the_configuration_a_name_is_what_they_signed_last(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = TorrentEntry("model.bin", 5, f"blake3:{'cd' * 32}", DIGEST, 9, 0, 0, 10**9)
    signed = msgspec.structs.replace(ENTRY, signature=sign(b"s" * 32, ENTRY, 7))
    config = tmp_path / "peer.yaml"
    config.write_text(f"signed_by: ['{format_key(public_key(b's' * 32))}']\n")
    for entries, code in (([other, signed], 0), ([other, ENTRY], 7)):
        one = peer_with(
            report(),
            ApiList=ApiListReply(1, False, entries),
            ApiStandings=ApiStandingsReply(1, False, [GIVER, StandingEntry("p2", "two", "whole", DONE, free=10**12)]),
            ApiRollout=ApiRolloutReply(1, ORDER),
        )
        assert one.run("--config", str(config), "rollout", "model.bin") == code
        assert one.client is not None
        assert [parse_link(asked.link).digest for asked in one.client.asked(ApiRollout)] == [DIGEST][: code == 0]
    assert "not signed by ed25519:" in capsys.readouterr().err


def test_who_has_not_is_a_line_and_exit_code_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert world(StandingEntry("p2", "t\x1bwo")).run("rollout", "model.bin", "--quiet") == 5
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].startswith(r"t\x1bwo: refuses: it accepts no orders")
    assert captured.err == ""


def test_watching_finds_the_order_of_anybody(capsys: pytest.CaptureFixture[str]) -> None:
    other = OrderEntry("p9", "nine", ORDER)
    one = world(StandingEntry("p2", "two", "whole"), orders=(other,))
    assert one.run("rollout", "--watch", DIGEST[:19], "--json") == 0
    fields = json.loads(capsys.readouterr().out)
    assert (fields["verdict"], fields["from"]["name"], fields["have"]) == ("complete", "nine", 2)
    assert one.client is not None
    assert one.client.asked(ApiRollout) == []
    second = Order("o2", DIGEST, DIGEST, "model.bin", 1, directory="a/b", peers="t*")
    twice = world(orders=(other, OrderEntry("p8", "eight", second)))
    assert twice.run("rollout", "--watch", "model.bin") == 2
    assert capsys.readouterr().err == (
        "error: 2 rollouts of model.bin are running; watch one of them with "
        f"--watch o1 (from nine, to all peers, {short(DIGEST)}); "
        f"--watch o2 (from eight, to peers t*, in a/b, {short(DIGEST)})\n"
    )
    assert twice.run("rollout", "--watch", "o2", "--timeout", "1ms") == 5
    cancelled = OrderEntry("p9", "nine", Order("o1", DIGEST, DIGEST, "model.bin", 1, cancelled=True))
    assert world(orders=(cancelled,)).run("rollout", "--watch", "model.bin") == 3


def test_one_that_is_cancelled_meanwhile_ends(capsys: pytest.CaptureFixture[str]) -> None:
    looks = iter([False] + [True] * 9)

    def orders(request: ApiRequest) -> ApiOrdersReply:
        order = Order("o1", DIGEST, DIGEST, "model.bin", 1, cancelled=next(looks))
        return ApiOrdersReply(request.id, False, [OrderEntry(GIVER.peer, "lab7", order)])

    standing = ApiStandingsReply(1, False, [GIVER, StandingEntry("p2", "two", free=5)])
    one = peer_with(report(), ApiStandings=standing, ApiOrders=orders)
    assert one.run("rollout", "--watch", "model.bin") == 5
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].startswith("0 of 1 have it after ")
    assert "the rollout of model.bin was cancelled" in captured.err


def test_a_tracker_that_is_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([True, False, True])

    def standings(request: ApiRequest) -> ApiStandingsReply | ApiError:
        if next(answers):
            return ApiStandingsReply(request.id, False, [GIVER, StandingEntry("p2", "two", "whole", DONE, free=10**12)])
        return ApiError(request.id, "network", "tracker does not answer")

    one = peer_with(
        report(),
        ApiList=ApiListReply(1, False, [ENTRY]),
        ApiStandings=standings,
        ApiRollout=ApiRolloutReply(1, ORDER),
    )
    assert one.run("rollout", "model.bin") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[-3:-1] == ["tracker does not answer", "the answers are back"]
    assert said[-1].startswith("two: has it, ")


def test_cancelling_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    one = world()
    assert one.run("rollout", "--cancel", "model.bin") == 0
    assert capsys.readouterr().err == "cancelled the rollout of model.bin\n"
    assert one.client is not None
    assert one.client.asked(ApiCancelRollout) == [ApiCancelRollout(1, "model.bin")]


@pytest.mark.parametrize(("holding", "words"), [("whole", "has it already"), (None, "does not have it")])
def test_an_order_for_this_peer_alone_is_refused_with_that_reason(
    holding: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = peer_with(
        report(),
        ApiList=ApiListReply(1, False, [ENTRY]),
        ApiStandings=ApiStandingsReply(1, False, [StandingEntry(report().peer, "lab7", holding)]),
    )
    assert one.run("rollout", "model.bin", "--to", "lab*") == 3
    assert f"no peer whose name matches lab* but this one, which {words}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("model.bin", "--watch", "model.bin"), 2),
        (("model.bin", "--expect", "0"), 2),
        (("model.bin", "--expect", "1", "--hosts", "f"), 2),
        (("model.bin", "--hosts", "no-such-file"), 3),
        (("model.bin", "--to-dir", "/etc"), 2),
        (("model.bin", "--to", "x" * 200), 2),
        (("./no-such-path",), 3),
        (("model.bin", "--receipt", "/no/such/r.json"), 6),
        (("model.bin",), 3),
    ],
)
def test_what_makes_no_sense_orders_nothing(arguments: tuple[str, ...], code: int) -> None:
    one = world()
    assert one.run("rollout", *arguments) == code
    if one.client is not None:
        assert one.client.asked(ApiRollout) == []
        assert one.client.asked(ApiOrders) == one.client.asked(ApiStandings)[:0]
