"""``python -m node.agent``: the agent process, as the supervisor starts it."""

from __future__ import annotations

from pathlib import Path

from node.agent.process import Agent
from node.config import AgentSettings
from node.identity import RunningMark
from service.child import run_child
from transport.loop import Loop
from transport.sockets import open_context


def main(settings: AgentSettings, loop: Loop) -> int:
    """Run until the loop is stopped, by the supervisor or because the command line said stop."""
    mark = RunningMark(Path(settings.data_dir))
    context = open_context()
    try:
        agent = Agent(settings, loop, context)
        try:
            loop.run(agent.tick)
            agent.leave()
        finally:
            agent.close()
    finally:
        context.destroy(0)  # unlike term(), ends even if the agent could not open all it needs
        mark.release()
    return 0


if __name__ == "__main__":
    run_child("agent", AgentSettings, main)
