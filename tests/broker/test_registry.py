"""The registry by itself: its invariants under any events, and what an entry costs."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import listing_index
from broker.events import EntryGone, EntrySet, Event, LoadSet, PeerGone, PeerSet
from broker.listing_index import Listing, ListingIndex, ListingKey, listing_key
from broker.registry import Registry
from protocol.errors import LocalError
from protocol.messages import Alias, Holding, OtherTracker, SeederEntry
from tests.broker.scenes import digest, picture

HOLDINGS: tuple[Holding, ...] = ("whole", "partial", "requesting")
PEERS = st.sampled_from("abc")
ENDPOINTS = st.sampled_from(["tcp://h:1", "tcp://h:2"])
DIGESTS = st.integers(0, 4).map(digest)
EVENTS = st.one_of(
    st.builds(PeerSet, PEERS, st.sampled_from(["one name", "another"]), ENDPOINTS),
    st.builds(PeerGone, PEERS, st.booleans()),
    st.builds(
        EntrySet,
        PEERS,
        DIGESTS,
        DIGESTS,
        st.sampled_from("xy"),
        st.integers(0, 1),
        st.sampled_from(HOLDINGS),
        st.lists(st.builds(Alias, st.sampled_from("xyz"), DIGESTS), max_size=2).map(tuple),
    ),
    st.builds(EntryGone, PEERS, DIGESTS),
    st.builds(
        LoadSet,
        PEERS,
        st.integers(0, 9),
        st.none() | st.integers(0, 9),
        st.integers(0, 9),
        st.booleans().map(lambda joined: (OtherTracker("tcp://h:1", joined),)) | st.just(()),
    ),
)
EVERYBODY: list[Event] = [
    *(PeerSet(peer, "name", "tcp://h:0") for peer in "abc"),
    *(EntrySet(peer, digest(0), digest(0), "x", 1, holding) for peer, holding in zip("abc", HOLDINGS, strict=True)),
]
"""Three members, one of each kind."""
BYTES_PER_ENTRY_MAX = 200


@given(st.sampled_from([[], EVERYBODY]), st.lists(EVENTS, max_size=40), st.booleans())
def test_invariants_hold_and_the_state_rebuilds_itself(
    before: list[Event], events: list[Event], read_between: bool
) -> None:
    registry = Registry(ListingIndex())
    for event in [*before, *events]:
        if isinstance(event, EntrySet) and event.peer not in registry.members:
            with pytest.raises(LocalError):
                registry.apply(event)
        else:
            registry.apply(event)
            registry.apply(event)  # every event is absolute
        if read_between:
            registry.check_invariants()
    registry.check_invariants()
    copy = Registry(ListingIndex())
    for event in registry.events():
        copy.apply(event)
    assert picture(copy) == picture(registry)
    for peer in list(registry.members):
        registry.apply(PeerGone(peer, expired=True))
    assert (registry.members, registry.swarms, registry.weight) == ({}, {}, 0)
    registry.check_invariants()


def test_an_entry_of_files_that_many_share_costs_little() -> None:
    peers, files = 200, 250
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        registry = Registry(ListingIndex())
        for p in range(peers):
            registry.apply(PeerSet(f"peer-{p}", "a name", f"tcp://10.0.0.{p}:7000"))
            for n in range(files):
                registry.apply(EntrySet(f"peer-{p}", digest(n), digest(1000 + n), f"file-{n}", n, "whole"))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / (peers * files) <= BYTES_PER_ENTRY_MAX


def test_a_source_is_told_with_its_present_name_and_address() -> None:
    registry = Registry()
    registry.apply(PeerSet("p", "before", "tcp://10.0.0.1:1"))
    for number, holding in enumerate(HOLDINGS):
        registry.apply(EntrySet("p", digest(number), digest(10), "file", 1, holding))
    registry.apply(PeerSet("p", "after", "tcp://10.0.0.2:2"))
    told = [list(registry.swarms[digest(number)].sources.values()) for number in range(len(HOLDINGS))]
    whole, partial = (SeederEntry("p", "after", "tcp://10.0.0.2:2", whole) for whole in (True, False))
    assert told == [[whole], [partial], []]
    registry.check_invariants()


def test_a_burst_of_listings_is_sorted_in_like_single_ones() -> None:
    registry = Registry(ListingIndex())
    registry.apply(PeerSet("a", "", "tcp://h:1"))
    for n in [*range(500, 0, -1), *range(501, 520)]:
        registry.apply(EntrySet("a", digest(n), digest(n), f"file-{n:04d}", n, "whole"))
        if n > 510:
            registry.check_invariants()
    assert registry.index is not None
    assert [listing.name for listing in registry.index.after(None)] == [f"file-{n:04d}" for n in range(1, 520)]
    for n in range(1, 500):
        registry.apply(EntryGone("a", digest(n)))
    registry.check_invariants()


def test_who_joins_does_not_have_the_whole_index_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer joins between any two questions, while the tracker lists very much."""
    registry = Registry(ListingIndex())
    registry.apply(PeerSet("a", "", "tcp://h:1"))
    for n in range(10_000):
        registry.apply(EntrySet("a", digest(n), digest(n), f"file-{n:05d}", n, "whole"))
    assert registry.index is not None
    assert len(list(registry.index.named("file-00001"))) == 1
    for n in range(10_000, 10_100):
        registry.apply(EntrySet("a", digest(n), digest(n), f"file-{n % 7}-{n}", n, "whole"))
    looks = 0

    def counting_key(listing: Listing) -> ListingKey:
        nonlocal looks
        looks += 1
        return listing_key(listing)

    monkeypatch.setattr(listing_index, "listing_key", counting_key)
    assert len(list(registry.index.named("file-1-10011"))) == 1
    assert looks < 2_000, "some 16 for each of the hundred"
    monkeypatch.undo()
    registry.check_invariants()
