"""Which keys a peer believes, and which of several contents they signed last. Pure.

Lists come from trackers and peers, so every signature is verified, and contents are ordered by signed timestamps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from protocol.digest import raw_digest
from protocol.errors import SignatureError, UsageError
from protocol.limits import ALIASES_COUNT_MAX, FORGED_COUNT_MAX, SIGNATURES_KEPT_COUNT_MAX
from protocol.messages import TorrentEntry
from protocol.signature import (
    Named,
    format_key,
    is_signed,
    moment_of,
    parse_key,
    short_key,
    signer_of,
    split_signatures,
    statement,
)

KNOWN_COUNT_MAX = 10_000
"""Cached results. Followed names are looked up every minute, and a verification takes 0.1 ms."""
Keys = frozenset[bytes]
ANYBODY: Keys = frozenset()
"""No signature is needed."""


class Verifier:
    """Verifies signatures, with a cache."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, bool] = OrderedDict()

    def is_signed(self, signature: bytes, content: Named) -> bool:
        """`protocol.signature.is_signed`."""
        moment = moment_of(signature)
        if not moment:
            return False
        key = raw_digest("blake3", signature + statement(content, moment))
        verdict = self._known.get(key)
        if verdict is None:
            verdict = self._known[key] = is_signed(signature, content)
            if len(self._known) > KNOWN_COUNT_MAX:
                self._known.popitem(last=False)
        return verdict

    def newest(self, keys: Keys, entries: Iterable[TorrentEntry]) -> list[TorrentEntry]:
        """The ``entries`` that one of ``keys`` has signed, the latest signature first. Raises `SignatureError` if more
        than `FORGED_COUNT_MAX` name such a key and do not verify."""
        claimed = [entry for entry in entries if signer_of(entry.signature) in keys and moment_of(entry.signature)]
        claimed.sort(key=lambda entry: (moment_of(entry.signature), entry.digest, entry.signature), reverse=True)
        found, forged = [], 0
        for entry in claimed:
            if self.is_signed(entry.signature, entry):
                found.append(entry)
                continue
            forged += 1
            if forged > FORGED_COUNT_MAX:
                what = f"more than {FORGED_COUNT_MAX} entries claim to be signed by {described(keys)} and are not"
                raise SignatureError(
                    f"{what}: somebody is flooding the tracker with them; use a link instead of the name"
                )
        return found

    def signers(self, entries: Iterable[TorrentEntry]) -> tuple[dict[tuple[str, str, str], list[str]], bool]:
        """The written keys that have signed each of ``entries``, by digest, manifest and name; and whether it stopped
        verifying, after more than `FORGED_COUNT_MAX` false signatures."""
        found: dict[tuple[str, str, str], list[str]] = {}
        forged = 0
        for entry in entries:
            if not moment_of(entry.signature) or forged > FORGED_COUNT_MAX:
                continue
            if not self.is_signed(entry.signature, entry):
                forged += 1
                continue
            keys = found.setdefault((entry.digest, entry.manifest, entry.name), [])
            key = format_key(signer_of(entry.signature))
            if key not in keys:
                keys.append(key)
        return found, forged > FORGED_COUNT_MAX

    def is_by(self, keys: Keys, signatures: bytes, content: Named) -> bool:
        """Whether one of ``keys`` has signed ``content``, according to ``signatures``; True without keys."""
        return not keys or bool(self.moment(keys, signatures, content))

    def moment(self, keys: Keys, signatures: bytes, content: Named) -> int:
        """The latest timestamp at which one of ``keys`` signed ``content``, according to ``signatures``; 0: never."""
        said = [one for one in split_signatures(signatures) if signer_of(one) in keys and self.is_signed(one, content)]
        return max(map(moment_of, said), default=0)

    def kept(self, signatures: bytes, content: Named) -> bytes:
        """The ``signatures`` to keep and pass on: valid ones of ``content``, the latest of each key, at most
        `SIGNATURES_KEPT_COUNT_MAX`. It looks at no more than one peer can list."""
        by_key: dict[bytes, bytes] = {}
        for one in split_signatures(signatures)[: ALIASES_COUNT_MAX + 1]:
            before = by_key.get(signer_of(one), b"")
            if moment_of(one) > moment_of(before) and self.is_signed(one, content):
                by_key.pop(signer_of(one), None)
                by_key[signer_of(one)] = one
        return b"".join(list(by_key.values())[-SIGNATURES_KEPT_COUNT_MAX:])


class Trust(Verifier):
    """``configured``: written keys of the configuration; with any, the peer takes only content signed by one of
    them."""

    def __init__(self, configured: Sequence[str] = ()) -> None:
        super().__init__()
        self._configured = parse_keys(configured)

    def keys_for(self, asked: Sequence[str] = ()) -> Keys:
        """The keys that count for a request with the written keys ``asked``: these, those of the configuration, or if
        there are both, the keys that are in both. Raises `UsageError` if none is."""
        keys = parse_keys(asked)
        if not keys or not self._configured:
            return keys or self._configured
        both = keys & self._configured
        if not both:
            what = f"this peer takes only what is signed by {described(self._configured)} ('signed_by' in its"
            raise UsageError(f"{what} configuration), not what only {described(keys)} has signed")
        return both


def parse_keys(texts: Sequence[str]) -> Keys:
    """The keys that are written ``texts``. Raises `UsageError`."""
    return frozenset(map(parse_key, texts))


def described(keys: Keys) -> str:
    """Shortened ``keys``, for a sentence."""
    first, *others = sorted(short_key(format_key(key)) for key in keys)
    return first if not others else f"{', '.join(others)} or {first}"


def signers_of(signatures: bytes) -> list[str]:
    """The written keys of verified ``signatures``."""
    return [format_key(signer_of(one)) for one in split_signatures(signatures)]


def refusal(keys: Keys, target: str, entries: Sequence[TorrentEntry]) -> SignatureError:
    """The error for ``entries``, the contents that ``target`` names, if none has a signature that counts."""
    signed = sum(bool(entry.signature) for entry in entries)
    others = "unsigned" if not signed else f"{signed} of {len(entries)} signed by others, or falsely"
    what = f"{target} is there, but not signed by {described(keys)} ({others})"
    return SignatureError(f"{what}; its owner can sign it with 'share --sign'")
