"""node.piece_server.reading_threads: a file system that hangs keeps its own threads and no others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.disk.content import Content
from node.disk.file_systems import Mount, mount_of
from node.disk.stamps import take_stamps
from node.piece_server import reading_threads
from node.piece_server.disk_files import DiskFiles
from node.piece_server.reading import Reading
from node.piece_server.reading_threads import THREADS_COUNT, ReadingThreads
from tests.node.disk.made_content import made_file
from tests.node.piece_server.dead_mount import DeadMount
from transport.loop import Loop

MADE = made_file()
PIECES = MADE.manifest.piece_count


class Scene:
    """``told`` are the results by tag."""

    def __init__(self, find_mount: Callable[[str], Mount]) -> None:
        self.loop = Loop()
        self.threads = ReadingThreads(self.loop, find_mount)
        self.told: dict[str, object] = {}
        self.reading: Reading[str] = Reading(self.threads, self.told.__setitem__)

    def wait(self, *conditions: Callable[[], object]) -> None:
        """Run the loop until each has come true, one after another. Once."""
        waiting = list(conditions)
        deadline = time.monotonic() + 10

        def tick(now: float) -> float:
            assert now < deadline, f"not within ten seconds; told: {list(self.told)}"
            told = self.reading.deliver()
            if waiting and waiting[0]():
                waiting.pop(0)
                told = True
            if not waiting:
                self.loop.stop()
            return now if told else deadline

        self.loop.run(tick)


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []
    monkeypatch.setattr(reading_threads, "END_SECONDS", 10)

    def make(find_mount: Callable[[str], Mount] = mount_of) -> Scene:
        made.append(Scene(find_mount))
        return made[-1]

    yield make
    for scene in made:
        scene.threads.close()


def test_pieces_of_a_file_are_read(tmp_path: Path, scenes: Callable[..., Scene]) -> None:
    root, scene = MADE.put(tmp_path / "data.bin"), scenes()
    content = Content(MADE.manifest, root, take_stamps(root, MADE.manifest))
    scene.reading.open("a", str(root))
    for piece in range(PIECES):
        scene.reading.read("a", content, piece, f"a{piece}")
    scene.wait(lambda: len(scene.told) == PIECES)
    assert list(scene.told.items()) == [(f"a{piece}", MADE.piece(piece)) for piece in range(PIECES)]
    scene.reading.close("a", content.close)


def by_first_name(path: str) -> Mount:
    """Each directory at the top is a network file system."""
    return Mount("/" + path.split("/")[1], "nfs4")


def test_work_that_hangs_leaves_threads_to_other_file_systems(scenes: Callable[..., Scene]) -> None:
    scene, go_on = scenes(by_first_name), threading.Event()
    dead = [f"dead {number}" for number in range(THREADS_COUNT + 2)]
    for key in dead:
        scene.reading.open(key, f"/dead/{key}")
        scene.reading.run(key, lambda: go_on.wait(10), key)
    scene.reading.open("other", "/other/a")
    for number in range(100):
        scene.reading.run("other", lambda: "done", f"{number}")

    def end_it() -> bool:
        go_on.set()
        return True

    scene.wait(
        lambda: len(scene.told) == 100,
        end_it,
        lambda: len(scene.told) == 100 + len(dead),
    )
    assert list(scene.told)[:100] == [str(number) for number in range(100)]
    assert {scene.told[key] for key in dead} == {True}


def test_there_are_no_threads_without_bound(scenes: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_threads, "FILE_SYSTEMS_COUNT_MAX", 2)
    scene, before = scenes(by_first_name), threading.active_count()
    for number in range(9):
        scene.reading.open(str(number), "/" + "x" * number)
        scene.reading.run(str(number), lambda: "done", str(number))
    scene.wait(lambda: len(scene.told) == 9)
    assert threading.active_count() - before == 2 * THREADS_COUNT


def test_a_fault_of_the_program_ends_the_loop(scenes: Callable[..., Scene]) -> None:
    scene = scenes(by_first_name)
    scene.reading.open("a", "/a/b")
    scene.reading.run("a", lambda: 1 // 0, "a")
    with pytest.raises(ZeroDivisionError):
        scene.wait(lambda: scene.told)


# --- a server that is really dead ------------------------------------------------------------------------


@pytest.fixture
def dead(tmp_path: Path, scenes: Callable[..., Scene]) -> Iterator[Path]:
    """Threads end only after the file system has."""
    del scenes
    mount = DeadMount(tmp_path / "dead")
    yield tmp_path / "dead"
    mount.abort()


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_dead_server_holds_up_its_own_contents_and_seeds(
    through_a_link: bool, tmp_path: Path, dead: Path, scenes: Callable[..., Scene]
) -> None:
    away = dead
    if through_a_link:
        away = tmp_path / "link"
        away.symlink_to("also/../other")
        (tmp_path / "also").mkdir()
        (tmp_path / "other").symlink_to(dead)
    scene = scenes()
    root = MADE.put(tmp_path / "here.bin")
    here = Content(MADE.manifest, root, take_stamps(root, MADE.manifest))
    contents = {f"dead {number}": Content(MADE.manifest, away / str(number), b"") for number in range(20)}
    for key, content in contents.items():
        scene.reading.open(key, str(away / key[5:]))
        scene.reading.read(key, content, 0, key)
    scene.reading.open("seed", str(away / "seed"))
    scene.reading.run("seed", lambda: DiskFiles().load_seed(str(away / "seed")), "seed")
    scene.reading.open("here", str(root))

    def read_here(first: int) -> bool:
        for piece in range(PIECES):
            scene.reading.read("here", here, piece, f"here {first + piece}")
        return True

    read_here(0)
    scene.wait(
        lambda: len(scene.told) == PIECES,
        lambda: read_here(PIECES),  # and again when all that hangs surely does
        lambda: len(scene.told) == 2 * PIECES,
    )
    assert [scene.told[f"here {piece}"] for piece in range(PIECES)] == [MADE.piece(piece) for piece in range(PIECES)]
    for key, content in contents.items():
        scene.reading.close(key, content.close)
    scene.reading.close("here", here.close)
    assert not scene.reading.deliver()
