"""One `PieceServerCore` whose peers, agent, downloader and files are made up.

Everything it says is one list, in order: (to whom, message). A peer is a letter, and its session is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

from node.local_messages import AgentToPieceServer, DownloaderToPieceServer, Hello, Room, Serve, ShareState
from node.piece_server.core import PieceServerCore
from node.piece_server.reading import InLoop, Threads
from protocol.errors import DiskError, NotFoundError, ProtocolError, SeedError
from protocol.manifest import Manifest
from protocol.messages import Follow, Get, ManifestPage, Message, Piece, PieceServerRequest, Status
from protocol.messages import Test as AskTest
from tests.node.disk.made_content import Made, made_file
from tests.node.scene_pictures import bits

MADE = made_file()
DIGEST, PIECES = MADE.manifest.digest, MADE.manifest.piece_count
OTHER = "blake3:" + "cd" * 32
FIRST, SECOND = ("blake3:" + 64 * letter for letter in "12")
HELLO = Hello("piece_server", 77, 4242, 5560)
NO, LATER = Status(1, "no"), Status(1, "later")
COMPLETE = Status(1, "complete", stock=True, alone=True)
CROWDED = Status(1, "complete", stock=True)
"""The same to one of several receivers."""
Failure = DiskError | NotFoundError | ProtocolError | SeedError | OSError

Said = tuple[str, object]


class SameReceipts(Random):
    """Draws the instance that `HELLO` has, and receipts that are all the same."""

    def getrandbits(self, bits: int, /) -> int:
        return HELLO.instance if bits == 48 else 0


class FakeContent:
    """Content that reads as ``made`` does, unless its disk says otherwise."""

    def __init__(self, disk: FakeDisk, made: Made, root: str) -> None:
        self.disk = disk
        self.made = made
        self.root = root
        self.closed = False

    def read(self, piece: int) -> bytes:
        assert not self.closed
        if piece in self.disk.unreadable:
            raise self.disk.unreadable[piece]
        return self.made.piece(piece)

    def read_cached(self, piece: int) -> bytes | None:
        return None if piece in self.disk.unreadable else self.read(piece)

    def check(self, piece: int) -> None:
        self.disk.checked.append(piece)
        if piece in self.disk.wrong:
            raise self.disk.wrong[piece]

    def move(self, root: str) -> None:
        self.root = root

    def close(self) -> None:
        self.closed = True


class FakeDisk:
    """`shelf.Files`: the seed at path ``seed`` is that of ``MADE``; ``seeds`` may have further ones. What is opened
    fails while ``cannot_open`` is set, a read of a piece while it is in ``unreadable``, a check while it is in
    ``wrong``. ``checked`` are the pieces that were checked."""

    def __init__(self) -> None:
        self.seeds = {"seed": MADE}
        self.pages: dict[tuple[str, int], tuple[int, bytes]] = {("seed", 0): (3, b"abc")}
        self.cannot_open: Failure | None = None
        self.unreadable: dict[int, Failure] = {}
        self.wrong: dict[int, Failure] = {}
        self.checked: list[int] = []
        self.opened: list[FakeContent] = []

    def load_seed(self, path: str) -> Manifest:
        if path not in self.seeds:
            raise NotFoundError("the seed is gone")
        return self.seeds[path].manifest

    def open_content(self, manifest: Manifest, root: str, stamps: bytes | None) -> FakeContent:
        assert stamps in (b"stamps", None)
        if self.cannot_open is not None:
            raise self.cannot_open
        made = next(made for made in self.seeds.values() if made.manifest is manifest)
        self.opened.append(FakeContent(self, made, root))
        return self.opened[-1]

    def seed_page(self, path: str, page: int) -> tuple[int, bytes] | None:
        return self.pages.get((path, page))


class Scene:
    """The core and what it says; ``deaf`` peers cannot be reached, ``unread`` ones do not read, and some share an
    address, as ``hosts`` has it. Each call checks the invariants and returns what was said meanwhile, but for the
    ``rooms`` that the downloader was told of."""

    def __init__(self, threads: Threads | None = None) -> None:
        self.now = 100.0
        self.disk = FakeDisk()
        self.deaf: set[str] = set()
        self.unread: set[str] = set()
        self.hosts: dict[str, str] = {}
        self.notes: list[str] = []
        self.rooms: list[int] = []
        self._said: list[Said] = []
        self.core = PieceServerCore(
            self.disk, threads or InLoop(), out=self, rng=SameReceipts(), pid=4242, port=5560, now=self.now
        )

    # --- the outlet --------------------------------------------------------------------------------------

    def to_peer(self, route: bytes, message: Message) -> bool:
        self._said.append((route.decode(), message))
        return route.decode() not in self.deaf

    def piece_to_peer(self, route: bytes, header: Piece, data: bytes) -> bool:
        made = self.disk.seeds.values()
        assert data in [one.piece(header.piece) for one in made if header.piece < one.manifest.piece_count]
        return self.to_peer(route, header)

    def page_to_peer(self, route: bytes, page: ManifestPage) -> Callable[[], bool] | None:
        name = route.decode()
        return (lambda: name not in self.unread) if self.to_peer(route, page) else None

    def address_of(self, route: bytes) -> str:
        name = route.decode()
        return self.hosts.get(name, name)

    def hang_up_on(self, route: bytes) -> Callable[[], None]:
        return lambda: self._said.append((route.decode(), "hung up on"))

    def refuse(self, route: bytes, seconds: float) -> None:
        self._said.append((route.decode(), f"refused for {seconds:g} s"))

    def to_agent(self, message: Message) -> None:
        self._said.append(("agent", message))

    def to_downloader(self, route: bytes, message: Message) -> None:
        if isinstance(message, Room):
            self.rooms.append(message.count)
            return
        self._said.append((route.decode(), message))

    def note(self, level: Literal["info", "warning"], text: str) -> None:
        self.notes.append(f"{level}: {text}")

    # --- what happens ------------------------------------------------------------------------------------

    def _then(self) -> list[Said]:
        self.core.work(self.now)
        self.core.uploads.check_invariants()
        self.core.requests.check_invariants()
        said, self._said = self._said, []
        return said

    def peer(self, name: str, message: PieceServerRequest) -> list[Said]:
        self.core.peer_says(name.encode(), message, self.now)
        return self._then()

    def agent(self, message: AgentToPieceServer) -> list[Said]:
        self.core.agent_says(message, self.now)
        return self._then()

    def downloader(self, message: DownloaderToPieceServer, name: str = "downloader") -> list[Said]:
        self.core.downloader_says(name.encode(), message, self.now)
        return self._then()

    def garbage(self, name: str, request: int, error: ProtocolError) -> list[Said]:
        self.core.bad_message(name.encode(), request, error, self.now)
        return self._then()

    def tick(self, seconds: float = 0.0) -> list[Said]:
        self.now += seconds
        self.core.tick(self.now)
        return self._then()

    def test(self, name: str, digest: str = DIGEST) -> list[Said]:
        return self.peer(name, AskTest(1, digest))

    def gets(self, name: str, *pieces: int) -> list[Said]:
        """Open a session and ask for ``pieces``; what comes of that."""
        self.test(name)
        self.peer(name, Follow(1, bytes(1), 9, push=False))
        return self.peer(name, Get(1, list(pieces)))


def item(digest: str = DIGEST, seed: str = "seed", root: str = "/shared") -> Serve:
    return Serve(digest, FIRST, seed, root, stamps=b"stamps")


def share_state(*items: Serve, serving: bool = True) -> ShareState:
    return ShareState(1, "me", list(items), serving)


def growing(picture: str = "*" * PIECES, root: str = "/hidden") -> Serve:
    return Serve(DIGEST, FIRST, "seed", root, bits(picture).to_bytes())
