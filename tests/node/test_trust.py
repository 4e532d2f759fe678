"""Who is believed: what counts is what is signed, whatever is listed beside it, and in the order of its moments."""

from __future__ import annotations

import time

import pytest

from node.trust import Trust, Verifier, parse_keys, refusal
from protocol.errors import SignatureError, UsageError
from protocol.limits import FORGED_COUNT_MAX, SIGNATURE_BYTES, SIGNATURES_KEPT_COUNT_MAX
from protocol.messages import TorrentEntry
from protocol.signature import format_key, moment_of, public_key, sign, split_signatures

ALICE, MALLORY = b"a" * 32, b"m" * 32
KEY, MALLORYS = format_key(public_key(ALICE)), format_key(public_key(MALLORY))
KEYS = parse_keys([KEY])


def listed(number: int, moment: int = 0, secret: bytes = ALICE, **more: int) -> TorrentEntry:
    digests = (f"blake3:{number:064x}", f"blake3:{1_000 + number:064x}")
    counts = {"have": 1, "announced": number} | more
    entry = TorrentEntry("m.bin", 5, *digests, counts["have"], 0, 0, counts["announced"])
    return signed(entry, sign(secret, entry, moment)) if moment else entry


def signed(entry: TorrentEntry, signature: bytes) -> TorrentEntry:
    return TorrentEntry(
        entry.name,
        entry.length,
        entry.digest,
        entry.manifest,
        entry.have,
        entry.partial,
        entry.requesting,
        entry.announced,
        signature,
    )


def test_the_newest_is_what_was_signed_last_whatever_a_tracker_says_of_it() -> None:
    old, new = listed(1, 10, announced=999, have=50), listed(2, 20, announced=0, have=0)
    unsigned, other = listed(3), listed(4, 99, MALLORY)
    assert Verifier().newest(KEYS, [unsigned, old, other, new]) == [new, old]


def test_what_was_signed_earlier_cannot_be_made_newer() -> None:
    """Nor can its signature be put beside other content."""
    old, new = listed(1, 10), listed(2, 20)
    later = old.signature[:32] + (30).to_bytes(8, "big") + old.signature[40:]
    replayed = [signed(old, later), signed(listed(3), old.signature), signed(listed(3), new.signature)]
    assert Verifier().newest(KEYS, [*replayed, old, new]) == [new, old]


def test_signatures_that_are_claimed_without_end_are_given_up() -> None:
    false = KEYS_PREFIX + (5).to_bytes(8, "big") + b"f" * 64
    few = [signed(listed(number), false) for number in range(FORGED_COUNT_MAX)]
    good = listed(FORGED_COUNT_MAX + 5, 3)
    verifier = Verifier()
    assert verifier.newest(KEYS, [*few, good]) == [good]
    began = time.thread_time()
    with pytest.raises(SignatureError, match="somebody is flooding"):
        verifier.newest(KEYS, [*few, *(signed(listed(number), false) for number in range(2_000, 100_000)), good])
    assert time.thread_time() - began < 2.0


KEYS_PREFIX = public_key(ALICE)


def test_of_a_million_signatures_few_are_looked_at_and_fewer_kept() -> None:
    entry = listed(1)
    false = KEYS_PREFIX + (5).to_bytes(8, "big") + b"f" * 64
    began = time.thread_time()
    assert Verifier().kept(false * 1_000_000, entry) == b""
    assert time.thread_time() - began < 1.0
    good = b"".join(sign(bytes([number]) * 32, entry, 7) for number in range(10))
    assert len(split_signatures(Verifier().kept(good, entry))) == SIGNATURES_KEPT_COUNT_MAX


def test_of_each_key_the_last_signature_is_kept() -> None:
    entry = listed(1)
    first, second, other = sign(ALICE, entry, 5), sign(ALICE, entry, 6), sign(MALLORY, entry, 1)
    assert Verifier().kept(first + other + second, entry) == other + second
    assert Verifier().kept(second + first, entry) == second
    assert Verifier().kept(first[:-1] + other, entry) == b""


def test_who_signed_is_shown_to_people_only_where_it_is_so() -> None:
    entry = listed(1, 5)
    forged = signed(entry, sign(ALICE, listed(2), 5))
    again = signed(entry, sign(MALLORY, entry, 4))
    found, flooded = Verifier().signers([entry, forged, again, listed(3)])
    assert found == {(entry.digest, entry.manifest, "m.bin"): [KEY, MALLORYS]}
    assert not flooded
    junk = [signed(listed(number), b"j" * SIGNATURE_BYTES) for number in range(FORGED_COUNT_MAX + 5)]
    found, flooded = Verifier().signers([*junk, entry])  # their moments are none, which costs nothing
    assert (list(found.values()), flooded) == ([[KEY]], False)
    junk = [signed(listed(number), entry.signature) for number in range(2, FORGED_COUNT_MAX + 5)]
    assert Verifier().signers([*junk, entry]) == ({}, True)


def test_the_configuration_can_be_narrowed_and_not_left() -> None:
    assert Trust().keys_for() == frozenset()
    assert Trust().keys_for([KEY]) == KEYS
    assert Trust([KEY]).keys_for() == KEYS
    assert Trust([KEY, MALLORYS]).keys_for([KEY]) == KEYS
    with pytest.raises(UsageError, match="takes only what is signed by"):
        Trust([KEY]).keys_for([MALLORYS])


def test_with_no_keys_everything_is_taken_and_with_keys_what_they_signed() -> None:
    entry, trust = listed(1, 5), Trust()
    assert trust.is_by(frozenset(), b"", entry)
    assert trust.is_by(KEYS, entry.signature, entry)
    assert not trust.is_by(KEYS, b"", entry)
    assert not trust.is_by(KEYS, sign(MALLORY, entry, 5), entry)
    assert trust.moment(KEYS, sign(MALLORY, entry, 9) + entry.signature, entry) == moment_of(entry.signature)


def test_a_refusal_says_what_is_missing_and_what_to_do() -> None:
    text = str(refusal(KEYS, "m.bin", [listed(1), listed(2, 5, MALLORY)]))
    assert text.startswith(f"m.bin is there, but not signed by {KEY[:20]} (1 of 2 signed by others, or falsely)")
    assert "share --sign" in text
