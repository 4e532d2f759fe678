"""node.piece_server.reading: what hangs holds up nothing else; results in order, and never from inside a call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.disk.errors import NotThereError
from node.disk.file_systems import Mount
from node.piece_server.reading import InLoop, Reading, Then, Work, attempt

MEMORY, DISK, NFS = Mount("/tmp", "tmpfs"), Mount("/", "ext4"), Mount("/nfs", "nfs4")


class FakeContent:
    """Piece n is ``n`` as text. ``cached`` pieces can be read without waiting; `calls` tells how each was read."""

    def __init__(self, cached: str = "") -> None:
        self.cached = [int(piece) for piece in cached]
        self.calls: list[tuple[str, int]] = []
        self.error: Exception | None = None
        self.closed = False

    def read(self, piece: int) -> bytes:
        self.calls.append(("read", piece))
        if self.error is not None:
            raise self.error
        return b"%d" % piece

    def read_cached(self, piece: int) -> bytes | None:
        self.calls.append(("cached", piece))
        return b"%d" % piece if piece in self.cached else None

    def check(self, piece: int) -> None: ...

    def move(self, root: str) -> None: ...

    def close(self) -> None:
        self.closed = True


class Scene:
    """`Threads` that do what they are given when they are told to. ``told`` are the results. Paths are on the file
    system they begin with, and everything is found at once unless ``slow_to_find``."""

    def __init__(self, slow_to_find: bool = False) -> None:
        self.slow_to_find = slow_to_find
        self.found: list[Callable[[], None]] = []
        self.given: list[tuple[Mount, Work, Then]] = []
        self.told: list[tuple[str, object]] = []
        self.on_told: Callable[[], None] = lambda: None
        self.reading: Reading[str] = Reading(self, self._done)

    def find(self, path: str, then: Callable[[Mount], None]) -> None:
        mount = next(mount for mount in (MEMORY, NFS, DISK) if path.startswith(mount.point))
        self.found.append(lambda: then(mount))
        if not self.slow_to_find:
            self.found.pop()()

    def submit(self, mount: Mount, work: Work, then: Then) -> None:
        self.given.append((mount, work, then))

    def finish(self, number: int = 0) -> None:
        """A thread did what it was given, and the loop hears of it."""
        _, work, then = self.given.pop(number)
        then(attempt(work))
        self.reading.deliver()

    def opened(self, key: str, path: str, content: FakeContent, pieces: str) -> FakeContent:
        self.reading.open(key, path)
        for piece in pieces:
            self.reading.read(key, content, int(piece), key + piece)
        return content

    def told_now(self) -> str:
        told, self.told = self.told, []
        return " ".join(tag for tag, _ in told)

    def _done(self, tag: str, result: object) -> None:
        self.told.append((tag, result))
        self.on_told()


# --- where work is done ----------------------------------------------------------------------------------


def test_what_is_in_memory_is_read_in_the_loop_and_told_afterwards() -> None:
    scene = Scene()
    content = scene.opened("a", "/tmp/a", FakeContent(), "012")
    assert (scene.told, content.calls) == ([], [])
    assert scene.reading.deliver()
    assert scene.told == [("a0", b"0"), ("a1", b"1"), ("a2", b"2")]
    assert scene.given == []
    assert not scene.reading.deliver()


def test_pieces_of_a_disk_that_are_cached_are_read_in_the_loop() -> None:
    scene = Scene()
    content = scene.opened("a", "/a", FakeContent(cached="013"), "0123")
    assert scene.reading.deliver()
    assert (scene.told_now(), len(scene.given)) == ("a0 a1", 1)
    scene.finish()
    assert scene.told_now() == "a2 a3"
    assert content.calls == [("cached", 0), ("cached", 1), ("cached", 2), ("read", 2), ("cached", 3)]


def test_a_file_system_behind_a_server_is_not_even_looked_at_in_the_loop() -> None:
    scene = Scene()
    content = scene.opened("a", "/nfs/a", FakeContent(cached="01"), "01")
    assert not scene.reading.deliver()
    assert content.calls == []
    assert [mount for mount, _, _ in scene.given] == [NFS]
    scene.finish()
    scene.finish()
    assert scene.told == [("a0", b"0"), ("a1", b"1")]
    assert content.calls == [("read", 0), ("read", 1)]


def test_other_work_on_a_disk_may_have_to_wait() -> None:
    scene = Scene()
    scene.reading.open("seed", "/seeds/a")
    scene.reading.run("seed", lambda: "manifest", "loaded")
    assert not scene.reading.deliver()
    scene.finish()
    assert scene.told == [("loaded", "manifest")]


def test_nothing_is_done_before_the_file_system_is_found() -> None:
    scene = Scene(slow_to_find=True)
    scene.opened("a", "/tmp/a", FakeContent(), "01")
    scene.opened("b", "/tmp/b", FakeContent(), "0")
    assert not scene.reading.deliver()
    scene.found.pop()()
    scene.reading.deliver()
    assert scene.told_now() == "b0"
    scene.found.pop()()
    scene.reading.deliver()
    assert scene.told_now() == "a0 a1"


def test_a_world_without_slow_disks_does_everything_in_the_loop() -> None:
    told: list[tuple[str, object]] = []
    reading: Reading[str] = Reading(InLoop(), lambda tag, result: told.append((tag, result)))
    reading.open("a", "/a")
    reading.run("a", lambda: "manifest", "seed")
    reading.read("a", FakeContent(), 7, "piece")
    assert told == []
    assert reading.deliver()
    assert told == [("seed", "manifest"), ("piece", b"7")]


# --- what hangs ------------------------------------------------------------------------------------------


def test_what_hangs_has_one_thread_and_holds_up_nothing_else() -> None:
    scene = Scene()
    scene.opened("hangs", "/nfs/a", FakeContent(), "012")
    scene.opened("b", "/nfs/b", FakeContent(), "01")
    scene.opened("c", "/c", FakeContent(cached="0"), "01")
    scene.reading.deliver()
    assert [mount for mount, _, _ in scene.given] == [NFS, NFS, DISK]
    scene.finish(1)
    scene.finish(1)
    scene.finish(1)
    assert scene.told_now() == "c0 b0 c1 b1"
    assert len(scene.given) == 1
    assert [scene.reading.pending(key) for key in ("hangs", "b", "c", "unknown")] == [3, 0, 0, 0]
    scene.finish()
    scene.finish()
    scene.finish()
    assert scene.told_now() == "hangs0 hangs1 hangs2"
    assert scene.reading.pending("hangs") == 0


# --- results ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/tmp/a", "/a", "/nfs/a"])
@pytest.mark.parametrize("error", [NotThereError("gone"), OSError(5, "Input/output error")])
def test_what_cannot_be_read_is_a_result(path: str, error: Exception) -> None:
    scene = Scene()
    content = scene.opened("a", path, FakeContent(), "01")
    content.error = error
    scene.reading.deliver()
    while scene.given:
        scene.finish()
    assert scene.told == [("a0", error), ("a1", error)]


def test_a_fault_of_the_program_is_none() -> None:
    scene = Scene()
    scene.opened("a", "/tmp/a", FakeContent(), "0").error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        scene.reading.deliver()


def test_who_is_told_may_ask_for_more() -> None:
    scene = Scene()
    content = scene.opened("a", "/tmp/a", FakeContent(), "0")

    def ask() -> None:
        if len(scene.told) < 3:
            scene.reading.read("a", content, len(scene.told), f"a{len(scene.told)}")

    scene.on_told = ask
    scene.reading.deliver()
    assert scene.told_now() == "a0 a1 a2"


# --- the end of a key ------------------------------------------------------------------------------------


def test_what_is_closed_is_told_nothing_more_and_does_no_more_than_it_has_begun() -> None:
    scene = Scene()
    content = scene.opened("a", "/nfs/a", FakeContent(), "01")
    scene.reading.deliver()
    scene.reading.close("a", content.close)
    again = scene.opened("a", "/tmp/a", FakeContent(), "0")
    scene.reading.deliver()
    assert (scene.told_now(), again.calls, content.closed) == ("a0", [("read", 0)], False)
    scene.finish()  # what it was reading
    assert (content.calls, content.closed) == ([("read", 0)], False)
    scene.finish()
    assert content.closed
    assert (scene.told, scene.given) == ([], [])


def test_content_nobody_reads_is_closed_too() -> None:
    scene = Scene()
    content = scene.opened("a", "/tmp/a", FakeContent(), "0")
    scene.reading.close("a", content.close)
    assert not scene.reading.deliver() or scene.told == []
    assert (content.closed, content.calls) == (True, [])


def test_who_is_told_may_close() -> None:
    scene = Scene()
    scene.opened("a", "/tmp/a", FakeContent(), "012")
    scene.on_told = lambda: scene.reading.close("a")
    scene.reading.deliver()
    assert scene.told_now() == "a0"


def test_what_is_not_open_is_a_mistake() -> None:
    scene = Scene()
    with pytest.raises(KeyError):
        scene.reading.read("a", FakeContent(), 0, "a0")
    with pytest.raises(KeyError):
        scene.reading.close("a")
