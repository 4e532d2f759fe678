"""What a rollout's command makes of how everybody stands."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from node.cli.rollout_watch import NEW_SECONDS, Expected, Watch, expectation
from protocol.messages import DownloadState, Order, OrderEntry, StandingEntry

DIGEST = "blake3:" + "ab" * 32
GIVER = StandingEntry("g", "giver", "whole")


def order(**more: Any) -> Order:
    return Order("o1", DIGEST, DIGEST, "m.bin", 1_000, **more)


def watch(count: int | None = None, hosts: tuple[str, ...] = (), timeout: float = 0.0, **more: Any) -> Watch:
    return Watch(OrderEntry("g", "giver", order(**more)), Expected(count, hosts, timeout), 0.0)


def peer(name: str, state: Any = None, **more: Any) -> StandingEntry:
    """Accepts orders; ``state`` is that of its download for this order, or ``whole``."""
    if state is None:
        return StandingEntry(name, name, free=5_000)
    if state == "whole":
        done = DownloadState(DIGEST, "done", 1_000, 1_000, order="o1", attempt=1)
        return StandingEntry(name, name, "whole", done, free=5_000)
    told = DownloadState(DIGEST, state, 1_000, **{"order": "o1", "attempt": 1, **more})
    return StandingEntry(name, name, None if state == "failed" else "partial", told, free=5_000)


def states(seen: Watch) -> dict[str, str]:
    return {one.name: one.state for one in seen.peers()}


def look(seen: Watch, now: float, *entries: StandingEntry, settling: bool = False) -> list[str]:
    return [one.name for one in seen.update([GIVER, *entries], settling, now)]


def test_it_is_complete_when_all_but_the_giver_have_it() -> None:
    seen = watch()
    assert look(seen, 0.0, peer("a"), peer("b")) == ["a", "b"]
    assert seen.outcome(10.0) is None
    look(seen, 3.0, peer("a", "downloading", done=400, rate=100, sources=2), peer("b", "whole"))
    assert seen.progress() == "1 of 2 have it; 1 fetching; about 6.0 s left at present rates"
    assert look(seen, 9.0, peer("a", "whole"), peer("b", "whole")) == ["a"]
    assert seen.outcome(9.0) is True
    assert seen.verdict(True, 9.0) == ["2 of 2 have it, verified, 9.0 s"]


def test_who_has_it_elsewhere_has_not_carried_out_the_order() -> None:
    seen = watch()
    elsewhere = StandingEntry("a", "a", "whole", free=5_000)
    look(seen, 0.0, elsewhere)
    look(seen, 10.0, elsewhere)
    assert (states(seen), seen.outcome(10.0)) == ({"a": "waits"}, None)
    failed = DownloadState(DIGEST, "failed", 1_000, order="o1", attempt=1, reason="other content is there")
    look(seen, 11.0, StandingEntry("a", "a", "whole", failed, 5_000))
    assert seen.outcome(11.0) is False
    assert seen.verdict(False, 11.0)[-1] == "a: failed: other content is there"
    look(seen, 12.0, peer("a", "whole"))
    assert seen.outcome(12.0) is True


def test_who_cannot_have_it_is_not_waited_for_and_is_named_with_the_reason() -> None:
    seen = watch()
    refusing = StandingEntry("r", "r")
    look(seen, 0.0, peer("a", "downloading", done=370), peer("f"), refusing)
    look(seen, 3.0, peer("f", "failed", reason="disk\x1b[1m full"), refusing)
    assert states(seen) == {"f": "failed", "r": "refuses", "a": "gone"}
    assert seen.outcome(3.0) is False
    assert seen.verdict(False, 3.0) == [
        "0 of 3 have it after 3.0 s",
        r"f: failed: disk\x1b[1m full",
        "r: refuses: it accepts no orders: 'rollouts' is not set in its configuration",
        "a: gone: it was fetching, 37 %",
    ]
    look(seen, 4.0, peer("a", "whole"), peer("f", "failed"), refusing)
    assert states(seen)["a"] == "has it", "it came back"


def test_one_that_is_gone_is_waited_for_as_long_as_there_is_time() -> None:
    seen = watch(timeout=20.0)
    look(seen, 0.0, peer("a"))
    look(seen, 5.0)
    assert seen.verdict(False, 5.0)[-1] == "a: gone: it had none of it"
    assert seen.outcome(5.0) is None
    assert seen.outcome(20.0) is False


def test_a_peer_that_has_it_and_leaves_had_it() -> None:
    seen = watch()
    look(seen, 0.0, peer("a", "whole"))
    look(seen, 5.0)
    assert seen.outcome(5.0) is True


def test_a_refusal_counts_only_after_a_moment_and_not_of_one_who_has_it() -> None:
    seen = watch()
    look(seen, 0.0, StandingEntry("r", "r"), StandingEntry("h", "h", "whole"))
    assert states(seen) == {"r": "refuses", "h": "has it"}
    assert seen.outcome(NEW_SECONDS - 0.1) is None
    assert seen.outcome(NEW_SECONDS) is False


def test_while_the_tracker_settles_nobody_is_gone_and_all_may_not_be_all() -> None:
    seen = watch()
    look(seen, 0.0, peer("a"), peer("b", "whole"))
    look(seen, 5.0, peer("b", "whole"), settling=True)
    assert states(seen) == {"a": "has not", "b": "has it"}
    look(seen, 6.0, peer("a", "whole"), peer("b", "whole"), settling=True)
    assert seen.outcome(6.0) is None
    look(seen, 7.0, peer("a", "whole"), peer("b", "whole"))
    assert seen.outcome(7.0) is True


def test_a_failure_of_another_order_or_attempt_is_none_of_this_one() -> None:
    seen = watch(attempt=2)
    look(seen, 0.0, peer("a", "failed", attempt=1), peer("b", "failed", order="o9"))
    assert states(seen) == {"a": "has not", "b": "has not"}
    look(seen, 1.0, peer("a", "failed", attempt=2), peer("b", "failed", attempt=3))
    assert states(seen) == {"a": "failed", "b": "failed"}


def test_a_peer_with_another_copy_of_it_has_it_when_the_ordered_one_is_there() -> None:
    seen = watch()
    here = peer("a", "whole")
    look(seen, 0.0, here)
    copying = DownloadState(DIGEST, "checking", 1_000, order="o1", attempt=1)
    look(seen, 1.0, StandingEntry("a", "a", "whole", copying, 5_000))
    assert states(seen) == {"a": "checking"}
    look(seen, 2.0, here)
    assert seen.outcome(2.0) is True


def test_any_number_of_peers_may_be_enough() -> None:
    seen = watch(count=2, timeout=30.0)
    look(seen, 0.0, peer("a", "whole"), peer("f", "failed"))
    assert (seen.outcome(29.0), seen.outcome(30.0)) == (None, False)
    look(seen, 30.0, peer("a", "whole"), peer("b", "whole"), peer("f", "failed"))
    assert seen.outcome(31.0) is True
    assert seen.verdict(True, 31.0) == ["2 of 2 have it, verified, 31 s"]


def test_named_hosts_are_expected_and_others_are_not() -> None:
    seen = watch(hosts=("a", "nowhere", "giver"))
    look(seen, 0.0, peer("a", "whole"), peer("b"))
    assert states(seen) == {"a": "has it", "giver": "has it", "nowhere": "absent"}
    assert seen.outcome(NEW_SECONDS) is False
    assert seen.verdict(False, 5.0)[1] == "nowhere: absent: no peer of this name is in the network"


def test_an_order_for_some_expects_those() -> None:
    seen = watch(peers="lab*")
    look(seen, 0.0, peer("lab1", "whole"), peer("office"))
    assert seen.outcome(3.0) is True


def test_what_to_expect_is_what_is_known() -> None:
    seen = watch()
    little = StandingEntry("l", "l", free=0)
    look(seen, 0.0, peer("a"), peer("b", "whole"), little, StandingEntry("r", "r"))
    assert expectation(seen, 100.0) == [
        "m.bin, 1000 B, to 4 peers; 1 of them has it already",
        "accept no orders: r",
        "free space: l under 16.0 MiB, a under 16.0 MiB",
        "it takes at least 10 s: only this peer has it, and it sends at most 100 B/s",
        "no estimate: none of them has measured a rate yet",
    ]


def test_who_surely_has_too_little_room_is_named_and_the_rounding_of_what_was_told_is_no_reason() -> None:
    seen = Watch(OrderEntry("g", "giver", replace(order(), length=100 << 20)), Expected(), 0.0)
    rooms = {"none": 0, "less": 84 << 20, "perhaps": (84 << 20) + 1, "much": 160 << 20}
    look(seen, 0.0, *(StandingEntry(name, name, free=free) for name, free in rooms.items()))
    assert expectation(seen, 0.0)[1:3] == [
        "not enough space, as of the last heartbeat; each checks again before it starts: "
        "none (under 16.0 MiB free), less (84.0 MiB free)",
        "free space: perhaps 84.0 MiB, much 160.0 MiB",
    ]


def test_it_is_estimated_from_the_last_rates_of_those_who_have_measured_some() -> None:
    seen = watch()
    a, b = peer("a"), peer("b")
    look(seen, 0.0, replace(a, rate=10), replace(b, rate=20), peer("c"), replace(peer("d", "whole"), rate=1))
    slowest = "a, the slowest, fetched at 10 B/s last time; of 1 peer no rate is known yet"
    assert expectation(seen, 0.0)[-1] == f"estimate: 1m 40s; {slowest}"
    assert expectation(seen, 5.0)[-1] == f"estimate: 3m 20s; {slowest}"


def test_the_receipt_has_everybody() -> None:
    seen = watch()
    look(seen, 0.0, peer("a"), peer("b"))
    look(seen, 2.5, peer("a", "whole"), peer("b", "failed", reason="disk full"))
    fields = json.loads(json.dumps(seen.receipt("incomplete", {"to": ""}, 100.0, 4.0)))
    assert (fields["have"], fields["expected"], fields["seconds"], fields["digest"]) == (1, 2, 4.0, DIGEST)
    by_name = {one["name"]: one for one in fields["peers"]}
    assert (by_name["a"]["verified"], by_name["a"]["seconds"]) == (True, 2.5)
    assert (by_name["b"]["state"], by_name["b"]["reason"]) == ("failed", "disk full")


def test_rows_say_how_each_stands() -> None:
    seen = watch()
    look(seen, 0.0, peer("a", "downloading", done=400, rate=100, sources=2), StandingEntry("r", "r"))
    refuses, fetching = [one.cells() for one in seen.peers()]
    assert fetching == ["a", "fetching", "40 %", "100 B/s", "6.0 s", "2", ""]
    assert refuses[:6] == ["r", "refuses", "", "", "", ""]
