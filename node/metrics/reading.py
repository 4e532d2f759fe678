"""The agent's report and the figures of the peer's processes, for one scrape. Runs in a thread, one call at a time."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from node.api_messages import ApiGetStatus, StatusReport
from node.client.api_client import ApiClient
from node.metrics.machine import ProcessFigures, processes
from protocol.errors import NetworkError

ANSWER_SECONDS = 4.0


class Reading(Struct, frozen=True):
    """``report`` is None when the agent does not answer, for the reason ``problem``."""

    report: StatusReport | None
    processes: dict[str, ProcessFigures]
    problem: str = ""


class Reader:
    """Of the peer on ``data_dir``, whose supervisor is process ``supervisor``."""

    def __init__(self, data_dir: Path, supervisor: int) -> None:
        self._data_dir, self._supervisor = data_dir, supervisor
        self._client: ApiClient | None = None
        self._last_id = 0

    def read(self) -> Reading:
        try:
            report = self._report()
        except NetworkError as error:
            if self._client is not None:
                self._client.close()
                self._client = None
            return Reading(None, processes({"supervisor": self._supervisor}), str(error))
        return Reading(report, processes({"supervisor": self._supervisor, **report.pids}))

    def _report(self) -> StatusReport:
        if self._client is None:
            self._client = ApiClient(self._data_dir)
        self._last_id += 1
        reply = self._client.request(ApiGetStatus(self._last_id, [], counts=True), ANSWER_SECONDS)
        assert isinstance(reply, StatusReport)
        return reply
