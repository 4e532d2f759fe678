"""``python -m node.agent``: the agent process, as the supervisor starts it."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from random import Random

from node.agent.core import AgentCore
from node.agent.disk_work import AgentFiles
from node.agent.process import Agent
from node.agent.state import AgentTerms
from node.config import AgentSettings
from node.host import ProcessHost
from node.identity import RunningMark, load_identity
from service.child import run_child
from transport.curve import Keys, nobody
from transport.loop import Loop
from transport.sockets import open_context


def main(settings: AgentSettings, loop: Loop) -> int:
    """Run until the loop is stopped, by the supervisor or because the command line said stop."""
    mark = RunningMark(Path(settings.data_dir))
    context = open_context()
    try:
        keys = Keys(load_identity(Path(settings.data_dir)).keys, nobody) if settings.tracker_key else None
        host = ProcessHost(loop, context, Path(settings.runtime_dir), keys)
        files = AgentFiles(settings)
        core = _core(settings, files, loop)
        agent = Agent(host, core, files, Random(), loop.stop, _minute_of_week, settings.tracker_key)
        try:
            host.run(agent.tick)
            agent.leave(loop)
        finally:
            agent.close()
            host.close()
            files.close()
    finally:
        context.destroy(0)  # unlike term(), ends even if the agent could not open all it needs
        mark.release()
    return 0


def _core(settings: AgentSettings, files: AgentFiles, loop: Loop) -> AgentCore:
    identity = load_identity(Path(settings.data_dir))
    terms = AgentTerms(
        peer=identity.peer,
        name=settings.name,
        tokens={tracker: identity.token_for(tracker) for tracker in settings.trackers},
        advertise=settings.advertise,
        algorithm=settings.algorithm,
        share=tuple(settings.share),
        scan_seconds=settings.scan_seconds,
        instance=secrets.randbits(48),
        pid=os.getpid(),
        foreground=settings.foreground,
        asked=files.asked(),
        options=settings.options,
        limits=settings.limits,
        schedule=tuple(settings.schedule),
        override=files.override,
        quota=settings.quota,
        downloaded=tuple(files.downloaded),
        rollouts=settings.rollouts,
        keyed=bool(settings.tracker_key),
        ignore=settings.ignore,
        follow=settings.follow,
        signed_by=settings.signed_by,
    )
    return AgentCore(terms, files.items(), time.time() - loop.now(), Random(), files.away)


def _minute_of_week() -> int:
    """Of the local time, Monday 00:00 being 0."""
    local = time.localtime()
    return (local.tm_wday * 24 + local.tm_hour) * 60 + local.tm_min


if __name__ == "__main__":
    run_child("agent", AgentSettings, main)
