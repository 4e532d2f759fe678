"""Every bound of the system, with its unit and its reason.

A name ends in its unit (``_BYTES``, ``_SECONDS``, ``_COUNT``). The asserts at the bottom state how the
bounds depend on each other: change one and the module refuses to import until the others fit again.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

PROTOCOL_VERSION = 1

# --- content ---------------------------------------------------------------------------------------------
DIGEST_BYTES = 32
"""BLAKE3 and SHA-256 both give 32 bytes."""
PIECE_BYTES_MIN = 64 * KIB
"""Below this the messages about a piece cost more than its transfer."""
PIECE_BYTES_USUAL_MAX = 4 * MIB
"""A piece is shared on only when it is whole, so large pieces delay the swarm."""
PIECES_WANTED_COUNT = 1_024
"""With fewer pieces the last ones, sent to many receivers one after another, dominate the run."""
PIECES_COUNT_MAX = 65_536
"""Up to 256 GiB; above it pieces grow instead, so that a bitfield has at most 8 KiB and a piece table 2 MiB."""
CONTENT_BYTES_MAX = 4 * TIB
PIECE_BYTES_MAX = CONTENT_BYTES_MAX // PIECES_COUNT_MAX
"""64 MiB, of content of more than 2 TiB."""

SIGNER_BYTES = 32
"""A public key of Ed25519."""
SIGNATURE_BYTES = SIGNER_BYTES + 8 + 64
"""Public key, timestamp, Ed25519 signature."""
SIGNED_MOMENT_MAX = 2**53
"""Microseconds since 1970: 285 years. Every JSON reader can represent it."""
SIGNATURES_KEPT_COUNT_MAX = 4
"""Signatures of one content under one name, each by another key, that a peer keeps and passes on."""
FORGED_COUNT_MAX = 1_000
"""Signatures in one answer that name a believed key and do not verify. More of them end the request: 0.1 s."""

# --- names -----------------------------------------------------------------------------------------------
NAME_BYTES_MAX = 255
"""One path component in UTF-8: the limit of ext4, XFS, Btrfs and APFS."""
PATH_BYTES_MAX = 3_072
"""A relative path in a tree; PATH_MAX is 4,096 with the destination's own prefix in front."""
TREE_FILES_COUNT_MAX = 1_000_000
MANIFEST_BYTES_MAX = 128 * MIB
"""A million files with 100-byte paths, or the largest piece table with room to spare."""
SEED_BYTES_MAX = MANIFEST_BYTES_MAX + KIB
"""A manifest, a name, and field names."""
MANIFEST_PAGE_BYTES = 256 * KIB
"""One page of a manifest as ``ManifestPage`` carries it."""
SEED_TEXT_BYTES_MAX = 64 * MIB
"""The text format spells a digest with 64 hex digits; the largest piece table is 4 MiB of them."""

# --- messages --------------------------------------------------------------------------------------------
CONTROL_BYTES_MAX = 64 * KIB
"""A message to a tracker or to a piece server. libzmq drops the connection of a sender who exceeds it."""
REPLY_BYTES_MAX = 1 * MIB
"""A message from a tracker to a peer (paged below this)."""
LINK_BYTES_MAX = 20 * MIB
"""A message on the registrar's ordered link to a lookup."""
LOCAL_BYTES_MAX = 64 * MIB
"""A frame between the processes of one peer: the stamps of a million files fit."""
ROSTER_BYTES_MAX = 4 * KIB
SUBSCRIPTION_BYTES_MAX = 1 * KIB
"""A frame from a subscriber of the roster: a step of a handshake, or a subscription to everything."""
SUBSCRIBER_BYTES_MAX = 4 * KIB
"""All that comes from one. libzmq keeps each subscription, in 50 times as much memory."""
FRAMES_COUNT_MAX = 3
"""Route, header and data of a piece: MAXMSGSIZE limits a frame, not their number."""
DRAIN_COUNT = 200
"""Receives per socket and turn of a loop, so that no socket starves the others."""
ENTRY_BYTES = 243
"""A file-list entry without its name: field names 51, two digests 146, holding 11, two numbers 18, and the rest."""
ENTRIES_PAGE_COUNT = 130
"""File-list entries in one message: so many with the longest names fit a control message, fewer if they are signed."""
ALIASES_COUNT_MAX = 15
"""Names of one content at one peer besides the first."""
ALIAS_BYTES = 123
"""One of these without the name itself: field names 32, a digest 73, a number 9, and the rest."""
SIGNED_BYTES = SIGNATURE_BYTES + 12
"""A signature in either of these: the field name takes 10 bytes."""
NAMES_PAGE_COUNT = ENTRIES_PAGE_COUNT * (1 + ALIASES_COUNT_MAX)
"""Names in one such message, at most."""
REPLY_PAGE_COUNT = 500
"""Entries in one page of a lookup's reply."""
CURSOR_BYTES_MAX = 1_024
"""Where the next page goes on: two digests, a length, a name, a signature in hex."""
SEEDERS_COUNT_MAX = 64
"""Sources a lookup names in one reply: the whole swarm up to 64, a sample above."""
PIECES_TOLD_COUNT_MAX = 4_096
"""Pieces that one message names."""
PATTERN_BYTES_MAX = 256
ENDPOINT_BYTES_MAX = 256
DETAIL_BYTES_MAX = 512
DOWNLOADS_TOLD_COUNT_MAX = 16
"""Downloads that a heartbeat tells of: what a person asks about, and a few KiB."""
SENDERS_TOLD_COUNT_MAX = 8
"""Peers that a download is said to come from: those that send most."""
SENDER_DIGITS = 8
"""Of the id of such a peer: as people see it, and enough to tell those apart that have one content."""
DOWNLOAD_BYTES = 290 + SENDERS_TOLD_COUNT_MAX * (SENDER_DIGITS + 3) + 9
"""One of these without its reason: field names 68, a digest 73, a state 12, an order 66, six integers, its senders with
one byte for the part of each, and the rest."""
REASON_BYTES_MAX = 160
"""Why a download waits or failed: two lines of a terminal. Counted in characters, so up to four times as many bytes."""
TRACKERS_COUNT_MAX = 8
"""Trackers of one peer: each is told everything, and asked everything."""
TRACKER_TOLD_BYTES_MAX = 128
"""Of the endpoint of another tracker, which a heartbeat tells for people to read. Counted in characters: an honest one
is ASCII."""
PEER_ID_BYTES_MAX = 64
PEER_ID_HEX_COUNT = 32
"""Digits of the id of a peer of this version: 128 bits of the digest of its key."""
TOKEN_BYTES_MIN = 16
TOKEN_BYTES_MAX = 64
ENTRIES_ENVELOPE_BYTES = 512 + PEER_ID_BYTES_MAX + TOKEN_BYTES_MAX
"""Everything of a ``FileList`` or ``Update`` that is no entry."""
ORDERS_TOLD_COUNT_MAX = 16
"""Orders of one peer, cancelled ones included."""
ORDERS_COUNT_MAX = 1_000
"""Orders of all peers together: each peer that accepts some reads all."""
ORDER_DIRECTORY_BYTES_MAX = 256
ORDER_PATTERN_BYTES_MAX = 128
ORDER_BYTES_MAX = 400 + 4 * (NAME_BYTES_MAX + ORDER_DIRECTORY_BYTES_MAX + ORDER_PATTERN_BYTES_MAX)
"""One order: field names and a peer id 170, two digests 146, numbers; texts are counted in characters."""
FREE_STEP_BYTES = 16 * MIB
"""What is told of free space is rounded down to this, so that it does not change with each heartbeat."""
ORDERS_PAGE_COUNT = 100
"""Orders in one page of a lookup's reply."""

# --- registry --------------------------------------------------------------------------------------------
PEERS_COUNT_MAX = 100_000
PEER_ENTRIES_COUNT_MAX = 1_000_000
"""Entries of one peer. Here and below an entry counts once for each of its names."""

ENTRIES_COUNT_MAX = 20_000_000
"""Entries of all peers together: some 4 GiB at 200 bytes each."""
SWARMS_COUNT_MAX = 4_000_000
"""Contents that all of them are of: some 4 GiB at 1,000 bytes for one with its first entry."""
ANNOUNCED_AHEAD_SECONDS = 86_400.0
"""How far ahead of its own clock a registrar believes the moments that peers tell it: the clock may have been set back
since, on this machine or the one that had the tracker before, and what peers make up must not count for ever."""
LIST_TRANSFERS_COUNT_MAX = 10_000
"""File lists on their way in at once; who comes later is told to try again."""
LIST_TRANSFER_ENTRIES_COUNT_MAX = 2_000_000
"""Entries of all half-done file lists together: they are kept outside the registry until they are whole."""

# --- registrar to lookup ---------------------------------------------------------------------------------
LINK_PAGE_COUNT = 1_000
"""Registry events in one message of the link."""
LINK_EVENT_BYTES_MAX = 1_000 + max(
    ALIASES_COUNT_MAX * (ALIAS_BYTES + NAME_BYTES_MAX + SIGNED_BYTES) + SIGNED_BYTES,
    DOWNLOADS_TOLD_COUNT_MAX * (DOWNLOAD_BYTES + 4 * REASON_BYTES_MAX),
)
"""One encoded registry event: field names, names of 255 bytes, their digests or an endpoint, a peer id, downloads."""
LINK_WINDOW_COUNT = 16
"""Messages sent to a lookup and not yet acknowledged."""
LINK_QUEUE_COUNT_MAX = 100_000
"""Events waiting for a lookup's acknowledgements; beyond them it gets the whole state again."""
LINKS_COUNT_MAX = 64
REQUEST_KINDS_COUNT_MAX = 16
"""Kinds of requests that a beat counts."""
LOOKUP_PARKED_COUNT_MAX = 10_000
"""Requests that wait in a lookup for their ``min_seq``."""
LOOKUP_SCAN_COUNT_MAX = 20_000
"""Names one request may look at (some 10 ms), fewer where a pattern takes long; the rest is for the next page."""

# --- time ------------------------------------------------------------------------------------------------
HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 15.0
"""Three heartbeats: two may be lost."""
ROSTER_BEAT_SECONDS = 1.0
REFRESH_SECONDS = 5.0
"""How often an unsatisfied peer asks a lookup again."""
REQUEST_TIMEOUT_SECONDS = 3.0
MIN_SEQ_WAIT_SECONDS = 1.0
"""How long a lookup waits for its replica to reach a request's ``min_seq``."""
LIST_TRANSFER_SECONDS = 30.0
"""How long a peer may take between two pages of its list."""
LINK_SILENT_SECONDS = 3.0
"""Three beats of the registrar: a lookup that heard nothing for so long asks for the state again."""

# --- sessions between peers ------------------------------------------------------------------------------
TEST_TIMEOUT_SECONDS = 3.0
TEST_IDLE_SECONDS = 2.0
"""An idle session repeats ``Test`` this often."""
SESSION_SILENT_SECONDS = 10.0
"""A source forgets a session that has been silent this long."""
SESSIONS_COUNT_MAX = 1_024
"""Sessions of one piece server, all swarms together."""
ROUTE_SESSIONS_COUNT_MAX = 8
"""Sessions over one connection: a downloader needs one, and nobody shall take all there are."""
SESSION_PIECES_COUNT_MAX = 192
"""Pieces on their way in one session, whatever credit there is: they fit the queue of a connection, which a
receiver has for each session."""
UNDER_WAY_BYTES_MAX = 64 * MIB
"""Bytes that sources may send, or have sent, and that are not written yet, of one downloader."""
STALLED_BYTES_MAX = 64 * MIB
"""Bytes on their way to receivers that do not acknowledge them, of one piece server."""
SOURCES_PER_DOWNLOAD_COUNT_MAX = 64
JOURNAL_GROUP_BYTES = 64 * MIB
JOURNAL_GROUP_SECONDS = 2.0

# --- this machine ----------------------------------------------------------------------------------------
IPC_PATH_BYTES_MAX = 107
"""``sockaddr_un.sun_path`` less its NUL."""

assert PEER_ID_HEX_COUNT <= PEER_ID_BYTES_MAX
assert PIECE_BYTES_MIN <= PIECE_BYTES_USUAL_MAX <= PIECE_BYTES_MAX
assert PIECES_COUNT_MAX // 8 < CONTROL_BYTES_MAX, "a bitfield fits one control message"
assert PIECES_COUNT_MAX * DIGEST_BYTES < MANIFEST_BYTES_MAX, "the largest piece table fits a manifest"
assert PIECES_COUNT_MAX * (2 * DIGEST_BYTES + 1) < SEED_TEXT_BYTES_MAX
assert PIECES_TOLD_COUNT_MAX * 5 < CONTROL_BYTES_MAX, "5 bytes an integer"
assert ENTRIES_PAGE_COUNT * (ENTRY_BYTES + NAME_BYTES_MAX) + ENTRIES_ENVELOPE_BYTES <= CONTROL_BYTES_MAX, "a page fits"
assert (
    ENTRY_BYTES + NAME_BYTES_MAX + ALIASES_COUNT_MAX * (ALIAS_BYTES + NAME_BYTES_MAX + SIGNED_BYTES) + SIGNED_BYTES
    <= CONTROL_BYTES_MAX - ENTRIES_ENVELOPE_BYTES
), "an entry fits"
assert MANIFEST_PAGE_BYTES < REPLY_BYTES_MAX
assert (
    DOWNLOADS_TOLD_COUNT_MAX * (DOWNLOAD_BYTES + 4 * REASON_BYTES_MAX)
    + ORDERS_TOLD_COUNT_MAX * ORDER_BYTES_MAX
    + TRACKERS_COUNT_MAX * (20 + TRACKER_TOLD_BYTES_MAX)
    < CONTROL_BYTES_MAX - 512
), "a heartbeat fits"
assert ORDERS_PAGE_COUNT * (ORDER_BYTES_MAX + 512) < REPLY_BYTES_MAX, "a page of orders fits"
assert ORDER_BYTES_MAX + 512 < LINK_EVENT_BYTES_MAX
assert TRACKERS_COUNT_MAX * (20 + 4 * TRACKER_TOLD_BYTES_MAX) + 512 < LINK_EVENT_BYTES_MAX
assert 2 * (8 + 2 * DIGEST_BYTES) + 16 + 2 * SIGNATURE_BYTES + NAME_BYTES_MAX + 4 <= CURSOR_BYTES_MAX
assert REPLY_PAGE_COUNT * (1_000 + DOWNLOAD_BYTES + 4 * REASON_BYTES_MAX) < REPLY_BYTES_MAX, "a page of standings fits"
assert 2 * PIECE_BYTES_USUAL_MAX <= UNDER_WAY_BYTES_MAX, "one piece arriving while one is written"
assert min(UNDER_WAY_BYTES_MAX, STALLED_BYTES_MAX) >= PIECE_BYTES_MAX, "the longest piece fits alone"
assert LEASE_SECONDS >= 3 * HEARTBEAT_SECONDS
assert SESSION_SILENT_SECONDS > 2 * TEST_IDLE_SECONDS, "two lost Tests end no session"
assert LINK_PAGE_COUNT * LINK_EVENT_BYTES_MAX < LINK_BYTES_MAX, "a page of events fits a link message"
assert LINK_SILENT_SECONDS >= 3 * ROSTER_BEAT_SECONDS
assert PEER_ENTRIES_COUNT_MAX <= LIST_TRANSFER_ENTRIES_COUNT_MAX <= ENTRIES_COUNT_MAX
