"""The tracker: ``zswarm-tracker``, or ``python -m broker``. Reads its configuration and supervises a registrar and the
lookups.

Has no ZeroMQ socket of its own. It holds the ports, so that a process that died is back where it was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from broker.child_settings import LookupSettings, RegistrarSettings
from broker.config import TrackerConfig, addresses, load_config
from broker.ports import HeldPorts
from broker.ready_file import check_ready_file
from protocol.endpoints import Address
from service.command_line import ExampleCommand, run_command, version_option
from service.logs import set_up_logging
from service.streams import prepare_streams
from service.supervisor import ChildSpec, Supervisor
from transport.runtime_dir import ipc_endpoint, remove_runtime_dir, runtime_dir

_EXAMPLES = """
--config tracker.yaml
--listen tcp://10.0.0.1:6000
"""
_PORTS = """
The registrar listens on the port of `listen`, the roster on the next one, the lookups on those after it. Peers are
given the first one only. Ctrl-C or SIGTERM ends the tracker; peers rejoin by themselves when it is back.
"""


@click.command(
    cls=ExampleCommand,
    examples=_EXAMPLES,
    epilog=_PORTS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file (YAML); else tracker.yaml in ~/.config/zswarm or /etc/zswarm.",
)
@click.option(
    "--listen", metavar="ENDPOINT", help="Address to listen on, instead of the one in the file; port 0: any free port."
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the endpoints to FILE as JSON once all are serving.",
)
@version_option("zswarm-tracker")
def command(config: Path | None, listen: str | None, ready_file: Path | None) -> int:
    """Run the tracker: it knows who is in the network and who has what."""
    return run_tracker(load_config(config, listen), ready_file)


def run_tracker(config: TrackerConfig, ready_file: Path | None) -> int:
    """Supervise the tracker's processes until it is told to end; the exit code."""
    set_up_logging("tracker", config.log)
    if ready_file is not None:
        check_ready_file(ready_file)
    ports = HeldPorts(addresses(config))
    # Whoever holds the registrar's port owns the directory of this name: what a killed tracker left is taken over.
    runtime_key = f"tracker-{ports.addresses[0].host}-{ports.addresses[0].port}"
    try:
        return Supervisor(child_specs(config, ports.addresses, runtime_key, ready_file)).run()
    finally:
        remove_runtime_dir(runtime_key)  # when the registrar had no time to
        ports.close()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def child_specs(
    config: TrackerConfig, listen_at: Sequence[Address], runtime_key: str, ready_file: Path | None
) -> list[ChildSpec]:
    """The processes to run; ``listen_at`` has the addresses of registrar, roster and lookups. Raises `ConfigError`."""
    listen, roster, *lookups = map(str, listen_at)
    link = ipc_endpoint(runtime_dir(runtime_key), "link.sock")
    registrar = RegistrarSettings(
        listen=listen,
        roster=roster,
        link=link,
        runtime_key=runtime_key,
        lookups=tuple(lookups),
        advertise=config.advertise,
        heartbeat_seconds=config.heartbeat_seconds,
        lease_seconds=config.lease_seconds,
        peers_max=config.peers_max,
        ready_file=str(ready_file.absolute()) if ready_file is not None else "",
        wall_offset=time.time() - time.monotonic(),
        log=config.log,
    )
    specs = [ChildSpec("registrar", "broker.registrar", msgspec.json.encode(registrar))]
    for number, lookup in enumerate(lookups):
        settings = LookupSettings(listen=lookup, link=link, log=config.log)
        role = "lookup" if number == 0 else f"lookup-{number + 1}"
        specs.append(ChildSpec(role, "broker.lookup", msgspec.json.encode(settings)))
    return specs


def run(program: str) -> int:
    """The command line of this process, which was started as ``program``; the exit code."""
    prepare_streams()
    return run_command(command, program, sys.argv[1:])


def zswarm_tracker() -> int:
    """The command ``zswarm-tracker``."""
    return run("zswarm-tracker")


if __name__ == "__main__":
    sys.exit(run("python -m broker"))
