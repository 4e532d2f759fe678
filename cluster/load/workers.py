"""The processes of clients: started, told which phase it is, listened to, ended and reaped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cluster.interrupts import shielded
from cluster.load.messages import CONTROL_SOCKET, Go, Phase, Progress
from cluster.load.worker import WorkerSettings
from cluster.local import check_running
from cluster.processes import Program, end_all, kill_all
from protocol.codec import Decoder, encode
from protocol.errors import NetworkError
from protocol.limits import LOCAL_BYTES_MAX
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, bind, drain_routed, open_context, open_socket, send_or_drop

SILENT_SECONDS = 120.0
"""They report four times a second, once they have made the lists of all their clients: one that has not for so long
never will."""
END_SECONDS = 10.0
WHO = "a process of clients"


class Workers:
    """Processes that share ``count`` clients. A context manager: when its block ends all are ended and reaped.

    ``latest`` is the last `Progress` of each, by phase.
    """

    def __init__(self, directory: Path, sockets: Path, settings: Sequence[WorkerSettings]) -> None:
        self.latest: dict[Phase, dict[int, Progress]] = {phase: {} for phase in Phase}
        self.programs: list[Program] = []
        self._settings = settings
        self._directory = directory
        self._sockets = sockets
        self._context = open_context()
        self._control = open_socket(self._context, Role.LOCAL_ROUTER)
        self._decoder: Decoder[Progress] = Decoder(Progress, LOCAL_BYTES_MAX)
        self._routes: dict[int, bytes] = {}
        self._heard_at: dict[int, float] = {}

    def start(self) -> None:
        """They run, but are not there yet: see `ready`. Raises `NetworkError` or `OSError`."""
        endpoint = bind(self._control, ipc_endpoint(self._sockets, CONTROL_SOCKET))
        for settings in self._settings:
            own = msgspec.structs.replace(settings, control=endpoint)
            log = self._directory / f"clients-{settings.worker}.log"
            program = Program("cluster.load.worker", [], log, self._sockets, settings=msgspec.json.encode(own))
            self.programs.append(program)
            self._heard_at[settings.worker] = time.monotonic()
            program.start()

    @property
    def ready(self) -> bool:
        """Have all reported, and so have all their sockets?"""
        return len(self._routes) == len(self._settings)

    def pids(self) -> list[int]:
        return [program.pid for program in self.programs]

    def go(self, phase: Phase) -> None:
        """All begin ``phase``; they are `ready`."""
        for route in self._routes.values():
            send_or_drop(self._control, [route, encode(Go(phase))])

    def over(self, phase: Phase) -> bool:
        """Is ``phase`` over for all of them?"""
        latest = self.latest[phase].values()
        return len(latest) == len(self._settings) and all(progress.over for progress in latest)

    def listen(self, seconds: float) -> None:
        """Take in what they report within ``seconds``. `NetworkError` when one has ended or says nothing any more."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._control.poll(int(left * 1_000) + 1)
            for route, frames in drain_routed(self._control):
                progress = self._decoder.decode(frames[0].buffer)
                self._routes[progress.worker] = route
                self._heard_at[progress.worker] = time.monotonic()
                self.latest[progress.phase][progress.worker] = progress
        check_running(self.programs, WHO)
        silent = time.monotonic() - min(self._heard_at.values())
        if silent > SILENT_SECONDS:
            raise NetworkError(f"{WHO} has not reported for {silent:.0f} s")

    def close(self) -> None:
        """End everything; see the class."""
        try:
            end_all(self.programs, END_SECONDS)
        finally:
            with shielded():
                kill_all(self.programs)
                self._control.close(0)
                self._context.term()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
