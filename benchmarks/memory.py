"""``python -m benchmarks.memory``: how much memory the processes take while a content is moved, large against small.

Sixteen sources give one content to one receiver; all are real peers on this machine, and all sources share the same
sparse file, which takes no room. The receiver writes all of it. Owns the command line and the order of things.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
from msgspec import Struct
from rich.table import Table

from benchmarks.command import run_command, size_option
from benchmarks.comparison import Row, medians
from benchmarks.contenders.zswarm import ask, finished
from benchmarks.machine import Machine, file_system, this_machine
from benchmarks.memory_figures import ROLES, Peaks, contents, peaks, result_rows
from benchmarks.output import show, targets_table, tell
from benchmarks.peaks import memory_of, reset_peak
from benchmarks.plot import bars, check_plot_path, figure, save
from benchmarks.tracker_load.conversation import Conversation
from benchmarks.work import work_directory
from cluster.local import LocalCluster, LocalPeer
from cluster.processes import SUPERVISOR, children_of, role_of
from cluster.report_file import check_report_path, write_report
from cluster.table import plain_table
from node.agent.catalogue import link_of
from node.agent.disk_work import hash_item
from node.agent.effects import HashPath
from node.agent.library import Library, LibraryItem
from node.api_messages import ApiGet
from protocol.errors import DiskError, NetworkError, UsageError
from protocol.limits import MIB
from protocol.manifest import piece_length_for
from protocol.messages import GetSeederList, SeederList
from service.units import format_bytes

KNOWN_SECONDS = 60.0
MOVE_SECONDS, MOVE_BYTES_PER_SECOND_MIN = 60.0, 10 * MIB
PAUSE_SECONDS = 0.1


class Report(Struct, frozen=True):
    """``rounds`` by content, whose ``sizes`` and ``piece_sizes`` are in bytes. ``work``: where all files lay, on what
    file system. ``since_start``: peaks could not be reset, and are of the start too."""

    machine: Machine
    work: str
    file_system: str
    sources: int
    sizes: dict[str, int]
    piece_sizes: dict[str, int]
    since_start: bool
    seconds: list[dict[str, float]]
    rounds: list[dict[str, Peaks]]
    medians: dict[str, Peaks]
    rows: list[Row]


class Moved(Struct, frozen=True):
    """``reset``: the peaks are of the move alone."""

    peaks: Peaks
    seconds: float
    reset: bool


def make_content(directory: Path, size: int) -> LibraryItem:
    """A sparse file of ``size`` bytes in ``directory``, as what a peer shares that has hashed it."""
    path = directory / f"content-{size}.bin"
    with path.open("wb") as file:
        file.truncate(size)
    request = HashPath(str(path), "blake3", "shared", None)
    return hash_item(request, directory, lambda _done, _of: None, lambda: False)[0]


def move(root: Path, item: LibraryItem, sources: int) -> Moved:
    """Start a cluster under ``root``, have one receiver get ``item`` from ``sources``, and end it."""
    names = [f"source-{number:02}" for number in range(1, sources + 1)]
    for name in names:
        _let_share(root / name / "data", item)
    with LocalCluster(root) as cluster:
        cluster.start_tracker()
        *_, receiver = cluster.add_peers([*names, "receiver"])
        cluster.wait_joined()
        _wait_known(cluster, item, sources)
        processes = _processes(cluster)
        resets = [reset_peak(pid) for pid in processes]
        began = time.monotonic()
        _get(receiver, item)
        seconds = time.monotonic() - began
        return Moved(
            peaks((role, memory_of(pid).peak) for pid, role in processes.items()), round(seconds, 2), all(resets)
        )


def _let_share(data_dir: Path, item: LibraryItem) -> None:
    """A peer that starts with ``data_dir`` shares ``item``, and hashes nothing."""
    data_dir.mkdir(parents=True)
    with Library(data_dir) as library:
        library.put_item(item)


def _wait_known(cluster: LocalCluster, item: LibraryItem, sources: int) -> None:
    """Until a lookup knows all sources. `NetworkError` when it does not."""
    deadline = time.monotonic() + KNOWN_SECONDS
    with Conversation(cluster.tracker.endpoints["lookups"][0]) as asker:
        while (total := asker.ask(GetSeederList(asker.next_id(), item.digest), SeederList).total) < sources:
            if time.monotonic() > deadline:
                raise NetworkError(f"the tracker knows {total} of {sources} sources after {KNOWN_SECONDS:g} s")
            time.sleep(PAUSE_SECONDS)


def _processes(cluster: LocalCluster) -> dict[int, str]:
    """All processes by id, with their roles."""
    supervisors = [program.pid for program in cluster.programs()]
    roles = {process.pid: role_of(process) for process in children_of(supervisors)}
    return dict.fromkeys(supervisors, SUPERVISOR) | roles


def _get(receiver: LocalPeer, item: LibraryItem) -> None:
    request = ApiGet(receiver.line.next_id(), link_of(item), str(receiver.download_dir), b"", False, False)
    finished(ask({receiver: request}), seconds=MOVE_SECONDS + item.length / MOVE_BYTES_PER_SECOND_MIN)


def measure(
    work: Path, sizes: Mapping[str, int], sources: int, rounds: int, tell: Callable[[str], None]
) -> list[dict[str, Moved]]:
    """``rounds`` in which each of ``sizes`` is moved in a cluster of its own, so that none finds what another left."""
    directory = work / "contents"
    directory.mkdir()
    items = {}
    for name, size in sizes.items():
        tell(f"hashing {format_bytes(size)}")
        items[name] = make_content(directory, size)
    kept = []
    for number in range(1, rounds + 1):
        found = {}
        for name, item in items.items():
            tell(f"round {number} of {rounds}: {sources} sources and a receiver, {format_bytes(item.length)}")
            root = work / name
            root.mkdir()
            found[name] = move(root, item, sources)
            shutil.rmtree(root)
            tell(f"  {found[name].seconds:.1f} s, at most {found[name].peaks.most:.0f} MiB in one process")
        kept.append(found)
    return kept


def _check_space(directory: Path, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if size > free:
        raise DiskError(
            f"what the receiver writes, {format_bytes(size)}, does not fit into {directory.parent}: "
            f"{format_bytes(free)} free. Take a smaller --size or another --work DIR"
        )


def render(found: Mapping[str, Peaks], sizes: Mapping[str, int]) -> Table:
    """The medians, by role and content."""
    table = plain_table("PEAK MIB", *(f">{format_bytes(size)}" for size in sizes.values()))
    table.add_row("(pieces)", *(format_bytes(piece_length_for(size)) for size in sizes.values()))
    for role in ROLES:
        table.add_row(role, *(f"{getattr(found[name], role):.1f}" for name in sizes))
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@size_option("--size", default="8GiB", help="The large content.")
@size_option("--small", default="256MiB", help="The small one.")
@click.option("--sources", type=click.IntRange(1, 64), default=16, show_default=True, help="That have all of it.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Each with both contents.")
@click.option(
    "--work",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where all files go: better a disk than memory.  [default: the directory for temporary files]",
)
@click.option("--report", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="JSON.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="A picture, as PNG.")
def command(
    size: int, small: int, sources: int, rounds: int, work: Path | None, path: Path | None, plot: Path | None
) -> None:
    """Measure the memory of all processes while one receiver gets a content from many sources on this machine. A target
    that is missed is shown, and no error."""
    if size <= small:
        raise UsageError(f"--size {format_bytes(size)} is not larger than --small {format_bytes(small)}")
    if path is not None:
        check_report_path(path)
    if plot is not None:
        check_plot_path(plot)
    sizes = contents(small, size)
    with work_directory("memory", work) as directory:
        _check_space(directory, size)
        moved = measure(directory, sizes, sources, rounds, tell)
        kind = file_system(directory)
    found = [{name: one.peaks for name, one in each.items()} for each in moved]
    report = Report(
        machine=this_machine(),
        work=str(directory.parent),
        file_system=kind,
        sources=sources,
        sizes=sizes,
        piece_sizes={name: piece_length_for(length) for name, length in sizes.items()},
        since_start=not all(one.reset for each in moved for one in each.values()),
        seconds=[{name: one.seconds for name, one in each.items()} for each in moved],
        rounds=found,
        medians=medians(found),
        rows=list(result_rows(found)),
    )
    if report.since_start:
        tell("the system does not let peaks be reset: they are those since each process was started")
    show(render(report.medians, sizes))
    show(targets_table(report.rows))
    if path is not None:
        write_report(path, report)
    if plot is not None:
        plot_memory(plot, report)


def plot_memory(path: Path, result: Report) -> None:
    """The peaks of each content beside each other, by role."""
    drawn, panels = figure(len(result.sizes), len(result.sizes))
    for panel, (name, size) in zip(panels, result.sizes.items(), strict=True):
        heights = {role: getattr(result.medians[name], role) for role in ROLES}
        dots = {role: [getattr(found[name], role) for found in result.rounds] for role in ROLES}
        bars(panel, f"{format_bytes(size)} from {result.sources} sources: peak MiB", heights, dots)
        panel.set_xlim(0, 1.18 * max(getattr(found, role) for found in result.medians.values() for role in ROLES))
    save(drawn, path)


if __name__ == "__main__":
    sys.exit(run_command(command, "benchmarks.memory", sys.argv[1:]))
