"""Asks the peer for what a command wants and follows it until each is done or failed, through any restart of the
peer's processes: a restarted agent has forgotten its jobs, so it is asked again, which every request allows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from node.api_messages import ApiAccepted, ApiGet, ApiRequest, ApiShare, JobStatus, StatusReport
from node.client.session import Session
from node.client.source_words import ban_notice
from node.client.targets import GetTarget
from node.client.view import JobView, Outcome, choice, outcome_of, trouble, view_of
from node.disk.share_options import ShareOptions
from node.reasons import silence
from node.trust import signers_of
from protocol.errors import NetworkError, RefusedError, SignatureError
from service.text import check_utf8

LOST_SECONDS = 15.0
"""How long the peer may be silent: its agent is back within a second or two when it is restarted."""
STATUS_SECONDS = 1.0
"""A question to an agent that was killed is lost: it is put again this soon."""
ASKS_COUNT_MAX = 20
"""How often one order is asked for before the peer is taken to be broken."""
UNCHECKED = "the running peer does not check signatures, it is of an older version; restart it"
FORGETFUL = "the peer keeps forgetting this; its log says why"


class Order(msgspec.Struct, frozen=True):
    """One target of a command: how to ask the peer for it, given a request number. ``hint`` is added to the error
    when nobody has it. With written keys in ``signed_by`` it is done only if one of them has signed it."""

    target: str
    message: Callable[[int], ApiRequest]
    hint: str = ""
    signed_by: tuple[str, ...] = ()


def share_order(path: Path, algorithm: str, options: ShareOptions, signature: bytes = b"") -> Order:
    """Have ``path`` shared, with the ``signature`` of its content if that is not empty. `UsageError` when a path is no
    UTF-8."""
    for text in (str(path), *options.link_roots):
        check_utf8(text)
    signers = tuple(signers_of(signature))
    message = functools.partial(ApiShare, path=str(path), algorithm=algorithm, options=options, signature=signature)
    return Order(str(path), message, signed_by=signers)


def get_order(
    target: GetTarget, directory: Path, force: bool, sequential: bool, signed_by: Sequence[str] = ()
) -> Order:
    """Have ``target`` fetched to ``directory``, which is UTF-8, if one of the written keys ``signed_by``, where there
    are any, has signed it."""

    def message(number: int) -> ApiRequest:
        where, how = (target.text, str(directory), target.seed), (force, sequential, target.name)
        return ApiGet(number, *where, *how, signed_by=tuple(signed_by), signatures=target.signature)

    return Order(target.text, message, target.hint, tuple(signed_by))


class _Slot(msgspec.Struct):
    """An order and how far it is: not asked for (``number`` None), a job, or an outcome. ``earlier`` is how long the
    jobs took that a restarted agent has forgotten."""

    order: Order
    number: int | None = None
    asked: int = 0
    first_asked_at: float = 0.0
    earlier: float = 0.0
    job: JobStatus | None = None
    outcome: Outcome | None = None


class JobTracker:
    """What became of the orders of one command, as far as the peer has said. Pure."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self._slots = [_Slot(order) for order in orders]
        self._agent = 0
        self._problem = ""
        self._told: set[tuple[str, str]] = set()

    def to_ask(self) -> list[tuple[int, Order]]:
        """(place, order) of everything the peer has to be asked for now."""
        return [(i, slot.order) for i, slot in enumerate(self._slots) if slot.outcome is None and slot.number is None]

    def jobs(self) -> list[int]:
        """The jobs that the peer works on."""
        return [slot.number for slot in self._slots if slot.outcome is None and slot.number is not None]

    def accepted(self, place: int, number: int, now: float) -> None:
        """The peer works on an order as its job ``number``."""
        slot = self._slots[place]
        if not slot.asked:
            slot.first_asked_at = now
        slot.number = number
        slot.asked += 1
        slot.earlier = now - slot.first_asked_at

    def refused(self, place: int, code: str, detail: str) -> None:
        """The peer does not accept an order."""
        target = self._slots[place].order.target
        self._slots[place].outcome = Outcome(target, ok=False, code=code, detail=detail)

    def update(self, report: StatusReport) -> None:
        """Take in a report. What its agent does not know has to be asked for again."""
        agent = report.pids.get("agent", 0)
        restarted = self._agent not in (0, agent)
        self._agent = agent
        self._problem = trouble(report)
        jobs = {} if restarted else {job.job: job for job in report.jobs}
        for place, slot in enumerate(self._slots):
            if slot.outcome is not None or slot.number is None:
                continue
            found = jobs.get(slot.number)
            if found is not None:
                self._follow(slot, msgspec.structs.replace(found, job=place))
            elif slot.asked < ASKS_COUNT_MAX:
                slot.number = None
            else:
                self.refused(place, "network", FORGETFUL)

    def _follow(self, slot: _Slot, found: JobStatus) -> None:
        before = slot.job.download if slot.job is not None else None  # asked again, it may be done at once
        found = msgspec.structs.replace(found, seconds=slot.earlier + found.seconds, download=found.download or before)
        slot.job = found
        if found.over:
            slot.outcome = outcome_of(found, slot.order.target)
            wanted = slot.order.signed_by
            if slot.outcome.ok and wanted and not set(wanted) & set(found.signed_by):
                bad = {"ok": False, "code": SignatureError.code, "detail": UNCHECKED}
                slot.outcome = msgspec.structs.replace(slot.outcome, **bad)

    def statuses(self) -> list[JobStatus | None]:
        """What the peer said last of each order, in order; None: nothing yet."""
        return [slot.job for slot in self._slots]

    def views(self, silence: str = "") -> list[JobView]:
        """A line of progress for every order the peer has said anything about; ``silence`` is what makes that old."""
        views = [view_of(slot.job, slot.order.target, self._problem) for slot in self._slots if slot.job is not None]
        return [msgspec.structs.replace(view, note=silence) if silence and not view.final else view for view in views]

    def news(self) -> list[str]:
        """What a person is told once, when it happens: which of several contents is taken, sources that are banned."""
        found = []
        for slot in self._slots:
            if slot.job is not None and slot.job.contents and (slot.order.target, "") not in self._told:
                self._told.add((slot.order.target, ""))
                found.append(choice(slot.job.contents, slot.job.started_at))
            report = None if slot.job is None else slot.job.download
            for source in report.sources if report is not None else ():
                if source.state == "banned" and (source.peer, source.reason) not in self._told:
                    self._told.add((source.peer, source.reason))
                    found.append(ban_notice(source))
        return found

    def finished(self) -> bool:
        """Whether every order has an outcome."""
        return all(slot.outcome is not None for slot in self._slots)

    def ended(self) -> list[Outcome]:
        """What came of the orders that have ended, in order."""
        return [slot.outcome for slot in self._slots if slot.outcome is not None]

    def outcomes(self, late: str, then: str = "") -> list[Outcome]:
        """What came of each order, in order; one that has not ended failed for the reason ``late``, with what it waited
        for; ``then`` says what becomes of it."""
        return [slot.outcome or self._late(slot, late, then) for slot in self._slots]

    def cut_off(self, why: str) -> list[Outcome]:
        """The same when they cannot be followed any longer, for the reason ``why``."""
        return [
            slot.outcome or Outcome(slot.order.target, ok=False, code="network", detail=why) for slot in self._slots
        ]

    def _late(self, slot: _Slot, late: str, then: str) -> Outcome:
        target = slot.order.target
        why = self._problem if slot.job is None else view_of(slot.job, target, self._problem).note
        detail = "; ".join(filter(None, (f"{late}: {why}" if why else late, then)))
        return Outcome(target, ok=False, code="network", detail=detail)


class Patience:
    """Asks for status, and forgives the silence of an agent that is being restarted."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answered = session.now()

    def status(self, jobs: list[int] | None = None, paths: Sequence[str] = ()) -> StatusReport | None:
        """`Session.status`; None while the peer is silent, `NetworkError` after `LOST_SECONDS` of it, and at once when
        it has ended."""
        return self.ask(functools.partial(self._session.status, jobs=jobs, paths=paths))

    @property
    def silent_seconds(self) -> float:
        """For how long the agent has not answered."""
        return self._session.now() - self._answered

    def whole_status(self) -> StatusReport | None:
        """The same for `Session.whole_status`."""
        return self.ask(self._session.whole_status)

    def ask(self, ask: Callable[[float], StatusReport]) -> StatusReport | None:
        """The same for whatever ``ask`` asks for, given how long that may take."""
        try:
            report = ask(STATUS_SECONDS)
        except NetworkError:
            if self._session.recover():
                self._answered = self._session.now()
            elif self.silent_seconds > LOST_SECONDS:
                raise
            return None
        self._answered = self._session.now()
        return report


class Follower:
    """Asks the peer of ``session`` for the orders of ``tracker``, and looks what has become of them."""

    def __init__(self, session: Session, tracker: JobTracker) -> None:
        self._session, self._tracker = session, tracker
        self._patience = Patience(session)

    def look(self) -> str:
        """Look once, and ask for what has to be asked for; returns what makes the news old, in words, or nothing.
        `NetworkError` when the peer has been silent for `LOST_SECONDS`."""
        report = self._patience.status(self._tracker.jobs())
        if report is not None:
            self._tracker.update(report)
            self._ask()
        return silence(self._patience.silent_seconds, "agent")

    def _ask(self) -> None:
        for place, order in self._tracker.to_ask():
            try:
                number = self._session.request(order.message(self._session.next_id()), ApiAccepted).job
                self._tracker.accepted(place, number, self._session.now())
            except RefusedError as error:
                self._tracker.refused(place, error.code, str(error))
            except NetworkError:
                return
