"""What holds in a simulated world that has come to rest: everybody has what it wants, and nothing goes wrong. Pure.

The tracker knows what the peers would say and nothing else, its lookups answer that, and nobody holds on to what was
needed on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from broker.registry import Registry
from cluster.simulated.agreement import check_answers
from cluster.simulated.errors import BrokenInvariantError
from cluster.simulated.invariants import registry_difference
from cluster.simulated.peer import Peer
from cluster.simulated.world import World

QUIET_SECONDS = 20.0
"""So long after all is done nobody asks who has what any more."""


def check_settled(world: World, liars: Collection[str], seeders_asked_at: dict[str, float]) -> None:
    """Nothing has gone wrong for a while. ``liars`` may still be at it."""
    registry = world.tracker.registrar.core.registry
    joined: dict[str, Peer] = {}
    for peer in world.peers.values():
        if peer.powered and peer.agent is not None and peer.agent.core.trackers.joined:
            joined[peer.identity] = peer
    _check_strangers(world, registry, joined, liars)
    for identity, peer in joined.items():
        if peer.name not in liars:
            _check_member(world, registry, identity, peer)
    for lookup in world.tracker.lookups:
        replica = lookup.core.replica.registry
        difference = "it has no state" if replica is None else registry_difference(registry, replica)
        if difference:
            raise BrokenInvariantError(f"{lookup.name} differs from the registrar: {difference}")
        check_answers(lookup, world)
    for peer in world.peers.values():
        if peer.powered and peer.name not in liars:
            _check_idle(peer, bool(liars))
            if world.now - seeders_asked_at.get(peer.name, 0.0) < QUIET_SECONDS:
                raise BrokenInvariantError(f"{peer.name} has all it wants, and asks who has it")


def check_forgotten(world: World, gone: Iterable[str]) -> None:
    """A lease has passed since the peers named in ``gone`` went without a word: they have no entry anywhere."""
    registries = {"the registrar": world.tracker.registrar.core.registry}
    for lookup in world.tracker.lookups:
        if lookup.core.replica.registry is not None:
            registries[lookup.name] = lookup.core.replica.registry
    for name in gone:
        identity = world.peers[name].identity
        for who, registry in registries.items():
            if identity in registry.members or any(identity in swarm.sources for swarm in registry.swarms.values()):
                raise BrokenInvariantError(f"{name} is gone for more than a lease, and {who} still knows it")


def _check_strangers(world: World, registry: Registry, joined: Collection[str], liars: Collection[str]) -> None:
    """Liars make up peers there are not; where there are none, nobody does."""
    honest = [peer.identity for peer in world.peers.values() if peer.name not in liars]
    strangers = [member for member in registry.members if member not in joined and (member in honest or not liars)]
    if strangers:
        raise BrokenInvariantError(f"the registrar knows {strangers}, who are not in the network")


def _check_member(world: World, registry: Registry, identity: str, peer: Peer) -> None:
    assert peer.agent is not None
    core = peer.agent.core
    member = registry.members.get(identity)
    if member is None:
        raise BrokenInvariantError(f"{peer.name} has joined, and the registrar does not know it")
    says = {entry.digest: entry.holding for entry in core.trackers.list.entries()}
    known = {digest: registry.holding(identity, digest) for digest in member.listings}
    if says != known:
        raise BrokenInvariantError(f"{peer.name} would say {says}, and the registrar has {known}")
    registrar, follower = world.tracker.registrar, core.trackers.all[0].follower
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
