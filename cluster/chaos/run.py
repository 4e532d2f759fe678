"""One run: everything in a cluster goes wrong for a while, is healed, and then every peer must have what it wants.

Owns the order of events and the verdict. `cluster.chaos.plan` decides what goes wrong, `cluster.chaos.faults` does it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from msgspec import Struct
from msgspec.structs import replace

from cluster.chaos.disks import SmallDisk, small_disks
from cluster.chaos.faults import DISK_KINDS, Faults
from cluster.chaos.plan import DISKS, ChaosPlan, Content, Kind, draw_plan
from cluster.chaos.wants import Want, settled
from cluster.content import Original, check_space, copy_content, make_random, make_random_tree
from cluster.interrupts import shielded
from cluster.links import Links
from cluster.local import REQUEST_SECONDS, TRACKER, LocalCluster, LocalPeer, accepted
from cluster.namespaces import shaped_network
from cluster.processes import Host, kill_all
from cluster.progress import Screen
from cluster.report import peer_names
from cluster.shaped_network import Machine
from cluster.verify import Reference
from cluster.workplace import workplace
from node.api_messages import ApiList, ApiListReply, ApiShare, JobStatus, StatusReport
from node.client.lines import latest_statuses
from protocol.errors import NetworkError, UsageError
from service.units import format_seconds

LOOK_SECONDS = 0.2
SHARE_SECONDS = 120.0
STUCK_SECONDS = 120.0
"""A healed cluster in which nothing has changed for this long is stuck: all timeouts are far shorter."""
LEFT_SECONDS = 60.0
"""A process whose supervisor was killed ends by itself; this long after the cluster has ended, none may be left."""
TREE_FILES_COUNT = 40
SPARE_BYTES = 16 * 1024 * 1024
"""Room on a small disk for more than content: journals, seeds, manifests."""
TRACKER_SETTINGS = {"heartbeat": "500ms", "lease": "2s"}
TRACEBACK = "Traceback (most recent call last)"


class ChaosRun(Struct, frozen=True, kw_only=True):
    """What to run. The file has ``size`` bytes, the tree half of that. ``keep`` None: everything is removed. ``links``
    None: as fast as this machine is, with no links that could be cut. ``timeout``: how long a healed cluster may take,
    in seconds; None: as long as there is progress."""

    seed: int
    peers: int
    seconds: float
    size: int
    keep: Path | None
    links: Links | None
    timeout: float | None


class ChaosReport(Struct, frozen=True, kw_only=True):
    """``wanted``: downloads of peers that were not lost; ``verified``: of these, correct byte for byte;
    ``unobtainable``: nobody has all pieces any more. ``faults`` happened. ``problems``: all that went wrong."""

    seed: int
    wanted: int
    verified: int
    unobtainable: int
    faults: int
    seconds: float
    problems: list[str]

    @property
    def ok(self) -> bool:
        return not self.problems


def run_chaos(run: ChaosRun, screen: Screen) -> ChaosReport:
    """Run it, and print what happens. Raises a `ZswarmError` if it could not even begin."""
    plan = draw_plan(run.seed, peer_names(run.peers), run.seconds, run.size)
    with workplace(run.keep, screen) as root, ExitStack() as resources:
        total = sum(content.size for content in plan.contents)
        check_space(root, total, run.peers + 1)
        hosts: Mapping[str, Host] | None = None
        disks: Mapping[Path, SmallDisk] = {}
        left_out: set[Kind] = set()
        if run.links is not None:
            screen.stage(f"making {run.links}")
            machines = [Machine(TRACKER), *(Machine(name, run.links.rate, run.links.rate) for name in plan.peers)]
            hosts = resources.enter_context(shaped_network(machines))
        else:
            left_out.add("cut")
            _print("cut links are left out: they need --link-rate")
        try:
            places = [root / name / disk for name in plan.peers for disk in DISKS]
            disks = resources.enter_context(small_disks(places, total + SPARE_BYTES))
        except UsageError as error:
            left_out.update(DISK_KINDS)
            _print(f"full and read-only disks are left out: {error}")
        plan = replace(plan, actions=[action for action in plan.actions if action.kind not in left_out])
        settings = {**TRACKER_SETTINGS, "lookups": plan.lookups}
        with LocalCluster(root, settings, same_ports=True, hosts=hosts) as cluster, _killed_if_interrupted(cluster):
            sockets = cluster.sockets
            resources.callback(_kill_left, sockets)
            chaos = _Chaos(run, plan, root, cluster, screen)
            report = chaos.run(disks)
            screen.stage("ending all processes")
        problems = [*report.problems, *_left(sockets), *_tracebacks(cluster)]
    report.problems[:] = problems
    return report


def verdict(report: ChaosReport) -> Iterator[str]:
    """The lines of the result; the last one sums it up."""
    for problem in report.problems:
        yield f"problem: {problem}"
    what = f"{report.verified} of {report.wanted} downloads verified"
    if report.unobtainable:
        what += f", {report.unobtainable} say which pieces nobody has"
    held = "held" if report.ok else "did NOT hold"
    yield f"seed {report.seed} {held}: {what}; {report.faults} faults, healed in {format_seconds(report.seconds)}"


class _Chaos:
    def __init__(self, run: ChaosRun, plan: ChaosPlan, root: Path, cluster: LocalCluster, screen: Screen) -> None:
        self._run = run
        self._plan = plan
        self._cluster = cluster
        self._screen = screen
        self._originals = {
            content.name: Original(root / "originals" / content.name, content.name, content.size)
            for content in plan.contents
        }
        self._began_at = 0.0
        self._wants: list[Want] = []
        self._digests: dict[str, str] = {}
        self._accepted: set[tuple[str, str]] = set()
        """Names of peers, and digests of what each shared while it was damaged and was told is right as it is."""

    def run(self, disks: Mapping[Path, SmallDisk]) -> ChaosReport:
        peers = self._start()
        shared = self._share(peers)
        self._digests = {name: job.digest for name, job in shared.items()}
        lost = self._plan.lost
        seeders = {content.name: content.seeders for content in self._plan.contents}
        self._wants = [
            Want(peers[action.machine], shared[action.what], bool(set(seeders[action.what]) - set(lost)))
            for action in self._plan.actions
            if action.kind == "get"
        ]
        faults = Faults(self._cluster, self._originals, disks, self._tell)
        self._screen.stage(f"seed {self._plan.seed}, {self._plan.seconds:g} s; {self._plan}")
        self._began_at = time.monotonic()
        self._happen(faults)
        self._tell("everything is healed")
        faults.heal(self._now)
        self._wants = [want for want in self._wants if want.peer.name not in lost]
        healed_at = time.monotonic()
        problems = self._settle(faults, [peer for name, peer in peers.items() if name not in lost])
        seconds = time.monotonic() - healed_at
        self._screen.stage("verifying all copies")
        verified, wrong = self._verify(peers)
        return ChaosReport(
            seed=self._plan.seed,
            wanted=len(self._wants),
            verified=verified,
            unobtainable=sum(want.is_unobtainable for want in self._wants),
            faults=faults.count,
            seconds=seconds,
            problems=[*problems, *wrong],
        )

    # --- the phases ------------------------------------------------------------------------------------------

    def _start(self) -> dict[str, LocalPeer]:
        self._screen.stage(f"starting a tracker and {len(self._plan.peers)} peers")
        self._cluster.start_tracker()
        settings: dict[str, object] = {"scan_seconds": 0.5}
        if self._run.links is None:
            settings["upload_rate"] = self._plan.upload_rate
        peers = self._cluster.add_peers(self._plan.peers, settings)
        for content in self._plan.contents:
            self._make(content)
        self._cluster.wait_joined()
        return {peer.name: peer for peer in peers}

    def _make(self, content: Content) -> None:
        """The original, and a copy of it for each seeder."""
        original = self._originals[content.name]
        original.path.parent.mkdir(exist_ok=True)
        if content.is_tree:
            make_random_tree(original.path, TREE_FILES_COUNT, content.size // TREE_FILES_COUNT)
            (original.path / "empty").mkdir()
            (original.path / "nothing").touch()
        else:
            make_random(original)
        for peer in self._cluster.peers:
            if peer.name in content.seeders:
                copy_content(original, peer.download_dir)

    def _share(self, peers: Mapping[str, LocalPeer]) -> dict[str, JobStatus]:
        """What each seeder has is shared; one job of each content, by name."""
        self._screen.stage("sharing " + " and ".join(f"{c.name} from {len(c.seeders)}" for c in self._plan.contents))
        shared = {}
        for content in self._plan.contents:
            for name in content.seeders:
                peer = peers[name]
                request = ApiShare(peer.line.next_id(), str(peer.download_dir / content.name), "blake3")
                shared[content.name] = _until_shared(peer, request)
        return shared

    def _happen(self, faults: Faults) -> None:
        """The plan, to its end."""
        waiting = list(self._plan.actions)
        wants = {(want.peer.name, want.content.name): want for want in self._wants}
        while self._now < self._plan.seconds:
            faults.tick(self._now)
            while waiting and waiting[0].at <= self._now:
                action = waiting.pop(0)
                if action.kind == "get":
                    wants[action.machine, action.what].ask(time.monotonic())
                    self._tell(f"{action.machine}: get {action.what}")
                else:
                    faults.act(action, self._now)
                faults.tick(self._now)
            for peer in self._cluster.peers:
                for reply in peer.line.replies():
                    for want in self._wants:
                        if want.peer is peer:
                            want.hear(reply)
            time.sleep(LOOK_SECONDS)

    def _settle(self, faults: Faults, survivors: list[LocalPeer]) -> list[str]:
        """Wait until all peers have what they want, or nobody has it, and the tracker lists it. Returns what is
        wrong if there is no progress any more."""
        began_at = changed_at = time.monotonic()
        last: object = None
        last_wrong: list[str] = []
        timeout = math.inf if self._run.timeout is None else self._run.timeout
        while True:
            faults.tick(self._now)
            now = time.monotonic()
            statuses = latest_statuses({peer: peer.line for peer in survivors}, LOOK_SECONDS)
            for want in self._wants:
                if want.peer in statuses:
                    want.update(statuses[want.peer], now, self._tell)
            for peer, status in statuses.items():
                self._accept_healed(peer, status)
            networks = {peer.name: status.network for peer, status in statuses.items()}
            state = [networks, [want.progress for want in self._wants]]
            if state != last:
                last, changed_at = state, now
            wrong = [f"{peer.name} does not answer" for peer in survivors if peer not in statuses]
            wrong += [f"{name} is {network}" for name, network in networks.items() if network != "joined"]
            if not settled(self._wants):
                wrong += [str(want) for want in self._wants if not want.done]
            if not wrong:
                wrong = list(self._wrong_in_listing(survivors))
                if not wrong:
                    return []
                if wrong != last_wrong:
                    last_wrong = wrong
                    self._tell("; ".join(wrong))
            if now - changed_at > STUCK_SECONDS or now - began_at > timeout:
                what = f"nothing has changed for {format_seconds(now - changed_at)}"
                return [f"{what}, {format_seconds(now - began_at)} after everything was healed", *wrong]
            time.sleep(max(0.0, LOOK_SECONDS - (time.monotonic() - now)))

    def _accept_healed(self, peer: LocalPeer, status: StatusReport) -> None:
        """What ``peer`` hashed while some of it was damaged, and which was healed quietly, it takes for rotted. Whoever
        shares it says that it is right as it is, which the log tells them to do."""
        for item in status.shared:
            healed = peer.name, item.digest
            if item.state == "damaged" and item.digest not in self._digests.values() and healed not in self._accepted:
                self._accepted.add(healed)
                self._tell(f"{peer.name}: {item.name} was hashed while it was damaged; it is shared anew")
                peer.line.send(ApiShare(peer.line.next_id(), item.path, "blake3"))

    def _wrong_in_listing(self, survivors: list[LocalPeer]) -> Iterator[str]:
        """The differences between what the tracker lists and what ``survivors`` have."""
        asker = survivors[0]
        for content in self._plan.contents:
            whole = sum(peer.name in content.seeders for peer in survivors)
            whole += sum(want.done and want.content.name == content.name for want in self._wants)
            request = ApiList(asker.line.next_id(), content.name, exact=True)
            asker.line.send(request)
            reply = asker.line.reply_to(request, REQUEST_SECONDS)
            if not isinstance(reply, ApiListReply) or reply.settling:
                yield f"{asker.name} cannot list {content.name}"
                continue
            have = {entry.digest: entry.have for entry in reply.entries if entry.have}
            if have != ({self._digests[content.name]: whole} if whole else {}):
                yield f"the tracker lists {content.name} as {have}, but {whole} have it"

    def _verify(self, peers: Mapping[str, LocalPeer]) -> tuple[int, list[str]]:
        """How many downloads are correct, and everything that is wrong or left over on any disk."""
        verified, problems = 0, []
        unfinished = {(want.peer.name, want.content.name) for want in self._wants if not want.done}
        for name, peer in peers.items():
            is_lost = name in self._plan.lost
            expected = set()
            for content in self._plan.contents:
                copy = peer.download_dir / content.name
                is_seeder = name in content.seeders
                if is_seeder and is_lost:  # what it has may be damaged
                    expected.add(content.name)
                    continue
                part = f".{content.name}.part"
                if (is_lost and not copy.exists()) or (name, content.name) in unfinished:
                    expected.add(part)
                if not copy.exists() and part in expected:
                    continue
                expected.add(content.name)
                what = Reference(self._originals[content.name].path).difference(copy)
                if what:
                    problems.append(f"{name}: its {content.name} is wrong: {what}")
                elif not is_seeder and not is_lost:
                    verified += 1
            if not is_lost:
                left = {path.name for path in peer.download_dir.iterdir()} - expected
                problems += [f"{name}: {found} is left in its directory" for found in sorted(left)]
        return verified, problems

    # --- parts -----------------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began_at

    def _tell(self, what: str) -> None:
        _print(f"{self._now:6.1f} s  {what}")


def _until_shared(peer: LocalPeer, request: ApiShare) -> JobStatus:
    reply = accepted(peer, peer.request(request))
    deadline = time.monotonic() + SHARE_SECONDS
    while time.monotonic() < deadline:
        job = next(job for job in peer.status().jobs if job.job == reply.job)
        if job.phase == "done":
            return job
        if job.phase == "failed":
            raise NetworkError(f"{peer.name} cannot share: {job.detail}")
        time.sleep(LOOK_SECONDS)
    raise NetworkError(f"{peer.name} did not share within {SHARE_SECONDS:g} s")


@contextmanager
def _killed_if_interrupted(cluster: LocalCluster) -> Iterator[None]:
    """Stopped processes would not shut down cleanly."""
    with ExitStack() as on_error:
        on_error.callback(lambda: kill_all(cluster.programs()))
        yield
        on_error.pop_all()


def _left(sockets: Path) -> list[str]:
    """Processes of the cluster that still run although it has ended."""
    deadline = time.monotonic() + LEFT_SECONDS
    while (left := _processes_with(sockets)) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return [f"process {process.pid} is left: {command}" for process, command in left]


def _kill_left(sockets: Path) -> None:
    """Kill what an interrupted run left: also stopped processes whose supervisor was killed."""
    with shielded():
        for process, _ in _processes_with(sockets):
            process.kill()


def _processes_with(sockets: Path) -> list[tuple[psutil.Process, str]]:
    """Those with this ``XDG_RUNTIME_DIR``, whoever their parents are by now; each with its command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_RUNTIME_DIR") == str(sockets):
                found.append((process, " ".join(process.cmdline())))
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
    return found


def _tracebacks(cluster: LocalCluster) -> list[str]:
    """Programs whose log has one: no fault may lead to an error of the program itself."""
    problems = []
    for program in cluster.programs():
        log = program.log_path.read_text(errors="replace")
        if TRACEBACK in log:
            problems.append(f"{program.log_path}: {log[log.index(TRACEBACK) :]}")
    return problems


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is its purpose
