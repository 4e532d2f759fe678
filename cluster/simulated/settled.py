"""What holds in a simulated world that has come to rest: everybody has what it wants, and nothing goes wrong. Pure.

The tracker knows what the peers would say and nothing else, its lookups answer that, and nobody holds on to what was
needed on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from broker.registry import Registry
from cluster.simulated.agreement import check_answers
from cluster.simulated.errors import BrokenInvariantError
from cluster.simulated.invariants import registry_difference
from cluster.simulated.peer import Peer
from cluster.simulated.tracker import Tracker
from cluster.simulated.world import World

QUIET_SECONDS = 20.0
"""So long after all is done nobody asks who has what any more."""


def check_settled(world: World, liars: Collection[str], seeders_asked_at: dict[str, float]) -> None:
    """Nothing has gone wrong for a while. ``liars`` may still be at it."""
    for tracker in world.trackers:
        _check_tracker(world, tracker, liars)
        if not liars:
            difference = _picture_difference(world.tracker, tracker)
            if difference:
                raise BrokenInvariantError(f"{world.tracker.host.name} and {tracker.host.name} differ: {difference}")
    for peer in world.peers.values():
        if peer.powered and peer.name not in liars:
            _check_idle(peer, bool(liars))
            if world.now - seeders_asked_at.get(peer.name, 0.0) < QUIET_SECONDS:
                raise BrokenInvariantError(f"{peer.name} has all it wants, and asks who has it")


def check_forgotten(world: World, gone: Iterable[str], trackers: Iterable[Tracker]) -> None:
    """A lease has passed since the peers named in ``gone`` went without a word: ``trackers`` have no entry of them."""
    registries: dict[str, Registry] = {}
    for tracker in trackers:
        registries[tracker.registrar.name] = tracker.registrar.core.registry
        for lookup in tracker.lookups:
            if lookup.core.replica.registry is not None:
                registries[lookup.name] = lookup.core.replica.registry
    for name in gone:
        identity = world.peers[name].identity
        for who, registry in registries.items():
            if identity in registry.members or any(identity in swarm.sources for swarm in registry.swarms.values()):
                raise BrokenInvariantError(f"{name} is gone for more than a lease, and {who} still knows it")


def _check_tracker(world: World, tracker: Tracker, liars: Collection[str]) -> None:
    """It knows who is in the network, and what they would say, and its lookups say so."""
    registry = tracker.registrar.core.registry
    joined: dict[str, Peer] = {}
    for peer in world.peers.values():
        if peer.powered and peer.agent is not None:
            if peer.agent.core.trackers.all[tracker.number].membership.joined:
                joined[peer.identity] = peer
            elif peer.agent.core.trackers.joined and not liars:
                raise BrokenInvariantError(f"{peer.name} has joined another tracker, and not {tracker.host.name}")
    _check_strangers(world, registry, joined, liars)
    for identity, peer in joined.items():
        if peer.name not in liars:
            _check_member(tracker, identity, peer)
    for lookup in tracker.lookups:
        replica = lookup.core.replica.registry
        difference = "it has no state" if replica is None else registry_difference(registry, replica)
        if difference:
            raise BrokenInvariantError(f"{lookup.name} differs from the registrar: {difference}")
        check_answers(lookup, world)


def _picture_difference(one: Tracker, other: Tracker) -> str:
    """What two trackers know else of the same peers; empty when nothing. Each has a grid of its own."""
    pictures = []
    for tracker in (one, other):
        registry = tracker.registrar.core.registry
        told = [registry.entry_event(peer, digest) for peer, m in registry.members.items() for digest in m.listings]
        pictures.append({(e.peer, e.digest): replace(e, cell=None) for e in told if e is not None})
    ours, theirs = pictures
    for key in dict.fromkeys([*ours, *theirs]):
        if ours.get(key) != theirs.get(key):
            return f"{ours.get(key)} here, {theirs.get(key)} there"
    return ""


def _check_strangers(world: World, registry: Registry, joined: Collection[str], liars: Collection[str]) -> None:
    """Liars make up peers there are not; where there are none, nobody does."""
    honest = [peer.identity for peer in world.peers.values() if peer.name not in liars]
    strangers = [member for member in registry.members if member not in joined and (member in honest or not liars)]
    if strangers:
        raise BrokenInvariantError(f"the registrar knows {strangers}, who are not in the network")


def _check_member(tracker: Tracker, identity: str, peer: Peer) -> None:
    assert peer.agent is not None
    core, registrar = peer.agent.core, tracker.registrar
    registry, follower = registrar.core.registry, core.trackers.all[tracker.number].follower
    member = registry.members.get(identity)
    if member is None:
        raise BrokenInvariantError(f"{peer.name} has joined, and {registrar.name} does not know it")
    says = {entry.digest: entry.holding for entry in core.trackers.list.entries()}
    known = {digest: registry.holding(identity, digest) for digest in member.listings}
    if says != known:
        raise BrokenInvariantError(f"{peer.name} would say {says}, and {registrar.name} has {known}")
    if (follower.epoch, follower.seq) != (registrar.epoch, registrar.core.seq):
        heard = f"{follower.epoch}/{follower.seq} of {registrar.epoch}/{registrar.core.seq}"
        raise BrokenInvariantError(f"{peer.name} follows the roster to {heard}")


def _check_idle(peer: Peer, busy: bool) -> None:
    """Nothing is under way; others may still be fetching from it where somebody is ``busy``."""
    assert peer.agent is not None
    assert peer.downloader is not None
    assert peer.piece_server is not None
    if peer.agent.core.gets.digests or set(peer.downloader.core.jobs) - set(peer.agent.core.mends.digests):
        raise BrokenInvariantError(f"{peer.name} has all it wants, and is downloading")
    if not busy and peer.piece_server.core.uploads.next_deadline(peer.network.clock.now) is not None:
        raise BrokenInvariantError(f"{peer.name} has sessions, and nobody is downloading")
    if peer.downloader.budget.under_way:
        raise BrokenInvariantError(f"{peer.name} has {peer.downloader.budget.under_way} bytes under way, of nothing")
    left = peer.piece_server.core.uploads._uplink._late_bytes  # the books of a core are open to this alone
    if not busy and left:
        raise BrokenInvariantError(f"{peer.name} counts {left} bytes on their way to receivers that are gone")
