"""What a `node.client.session.Session` needs from outside, in earnest: the running peer's socket, and peers of this
project. Each is imported when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from node.api_messages import ApiReply
from node.client.session import Client, Foreground, Services
from node.config import PROGRAM, PeerSettings
from node.identity import is_free

if TYPE_CHECKING:
    from node.stored import Stored


def real_services(tell: Callable[[str], None], program: str = PROGRAM, owns_process: bool = True) -> Services:
    """``program`` is what errors call the command that runs a peer; the rest as in `Services`."""

    def client(data_dir: Path) -> Client:
        from node.client.api_client import ApiClient

        return ApiClient(data_dir, tell, program)

    def foreground(settings: PeerSettings, runs_tracker: bool) -> Foreground:
        from node.peer import Peer
        from service.logs import set_up_logging

        if owns_process:
            set_up_logging("peer", settings.log)
        return Peer(settings, tell, foreground=True, runs_tracker=runs_tracker)

    def for_others(tracker: str) -> str:
        from node import rendezvous

        return rendezvous.for_others(tracker)

    def same_tracker(one: str, other: str) -> bool:
        from node import rendezvous

        return rendezvous.same_tracker(one, other)

    def run_peer(settings: PeerSettings) -> int:
        from node.peer import run_peer as run

        return run(settings)

    def stored(data_dir: Path) -> Stored:
        from node.stored import read_stored

        return read_stored(data_dir)

    def remove(data_dir: Path, name: str, path: str) -> ApiReply:
        from node.stored import remove_stored

        return remove_stored(data_dir, name, path, tell)

    def collect(data_dir: Path, dry_run: bool) -> ApiReply:
        from node.stored import collect_stored

        return collect_stored(data_dir, dry_run, tell)

    return Services(
        client=client,
        foreground=foreground,
        run_peer=run_peer,
        is_free=is_free,
        stored=stored,
        remove_stored=remove,
        collect_stored=collect,
        tell=tell,
        for_others=for_others,
        same_tracker=same_tracker,
        owns_process=owns_process,
    )
