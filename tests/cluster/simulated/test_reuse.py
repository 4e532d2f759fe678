"""What peers have already in older content they do not fetch, whatever befalls the swarm and the old content."""

from __future__ import annotations

import pytest

from cluster.simulated.content import SimulatedContent, described, make_content
from cluster.simulated.peer import Peer
from cluster.simulated.scenario import Scenario
from protocol.limits import PIECE_BYTES_MIN
from tests.cluster.simulated.swarms import Swarm

OLD_PATH = "/shared/data.bin"


def successor(former: SimulatedContent, name: str, every: int, pieces: int = 0) -> SimulatedContent:
    """As ``former``, or ``pieces`` long, but for the last piece and each ``every``-th one."""
    old = former.manifest
    count = pieces or old.piece_count
    length = count * PIECE_BYTES_MIN - 500
    changed = make_content(f"new {name}", length).stand_ins
    kept = former.stand_ins[:-1]
    stand_ins = [kept[at] if at < len(kept) and (at + 1) % every else changed[at] for at in range(count - 1)]
    return described(name, length, old.piece_length, (*stand_ins, *changed[-1:]))


class Successors(Scenario):
    """A world with faults in which the second content is a successor of the first, which everybody has."""

    first: SimulatedContent

    def _make_content(self, number: int) -> SimulatedContent:
        content = super()._make_content(number)
        if number == 0:
            self.first = content
            return content
        content = successor(self.first, content.name, every=4, pieces=max(1, content.manifest.piece_count))
        self.world.add_content(content)
        return content

    def _populate(self) -> str:
        setting = super()._populate()
        for peer in self.receivers:
            if self.liars.get(peer.name) != "flooder":
                self.world.give(peer, self.contents[0])
        return setting


def two_versions(receivers: int) -> tuple[Swarm, SimulatedContent, SimulatedContent]:
    """``receivers`` share the old version, and are to get the new one, which the seeder alone has, and of which one
    piece of ten is new."""
    swarm = Swarm(0, receivers, pieces=200)
    old, new = swarm.content, successor(swarm.content, "data.bin", every=10)
    for name in list(swarm.world.peers):
        swarm.world.give(swarm.peer(name), old)
    swarm.world.add_content(new)
    swarm.world.give(swarm.add("seed"), new)
    swarm.content = new
    swarm.start()
    return swarm, old, new


def want(swarm: Swarm) -> list[Peer]:
    """All but the seeder type `get`."""
    peers = [peer for peer in swarm.world.peers.values() if peer.name != "seed"]
    for peer in peers:
        swarm.want(peer)
    return peers


def test_nine_tenths_are_taken_from_the_old_version_and_the_rest_travels_as_ever() -> None:
    swarm, old, new = two_versions(receivers=4)
    peers = want(swarm)
    swarm.run_until_done(60.0)
    length = new.manifest.length
    for peer in peers:
        report = swarm.report(peer.name)
        assert 0.89 * length <= report.reused_bytes <= 0.9 * length
        assert report.reused_from == [OLD_PATH]
        assert report.received_bytes <= 0.11 * length
        assert peer.disk.files[OLD_PATH].pieces == dict(enumerate(old.stand_ins))
    assert swarm.sent_ratio("seed") <= 0.2, "each piece goes out once, or nearly so"


def test_who_has_nothing_gets_what_was_reused_from_those_who_reused_it() -> None:
    swarm, _, _ = two_versions(receivers=2)
    want(swarm)
    swarm.run_until_done(60.0)
    swarm.peer("seed").power_off()
    swarm.join("newcomer")
    swarm.run_until_done(400.0)
    assert swarm.report("newcomer").reused_bytes == 0


def reused_bytes(peer: Peer) -> int:
    """Of what is under way at ``peer``."""
    assert peer.downloader is not None
    downloads = [job.download for job in peer.downloader.core.jobs.values()]
    return sum(download.pieces.reused_bytes for download in downloads if download is not None)


@pytest.mark.parametrize("what", ["deleted", "shorter", "other bytes"])
def test_old_content_that_is_not_what_it_was_costs_no_more_than_fetching(what: str) -> None:
    swarm, _, new = two_versions(receivers=1)
    (peer,) = want(swarm)
    pieces = peer.disk.files[OLD_PATH].pieces
    assert swarm.run(30.0, lambda: reused_bytes(peer) > 0)
    if what == "deleted":
        del peer.disk.files[OLD_PATH]
    elif what == "shorter":
        for piece in range(50, len(pieces)):
            del pieces[piece]
    else:
        pieces.update(dict.fromkeys(list(pieces)[50:], b"something else"))
    swarm.run_until_done(500.0)
    report = swarm.report(peer.name)
    assert 0 < report.reused_bytes < 0.7 * new.manifest.length
    assert report.reused_bytes + report.received_bytes >= new.manifest.length


@pytest.mark.parametrize("seed", range(12))
def test_whatever_goes_wrong_beside(seed: int) -> None:
    assert Successors(seed, "heavy").run().error == ""
