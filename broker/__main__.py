"""``zswarm-tracker``, or ``python -m broker``: reads the tracker's configuration and runs one (`broker.tracker`)."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from broker.config import TrackerConfig, addresses, load_config
from broker.ready_file import check_ready_file
from broker.tracker import Tracker
from service.command_line import ExampleCommand, run_command, version_option
from service.key_folder import KeyFolder, plain_warning
from service.logs import set_up_logging
from service.streams import prepare_streams
from transport.addresses import is_local

_logger = logging.getLogger(__name__)

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
@click.option("--no-mdns", is_flag=True, help="Do not announce the tracker on the local network.")
@click.option(
    "--keys",
    default="",
    metavar="DIR",
    help="The network's key folder ('zswarm keys init' makes one), or none; else $ZSWARM_KEYS, or keys in "
    "~/.config/zswarm or /etc/zswarm, if it is there.",
)
@click.option(
    "--web",
    metavar="ADDRESS",
    help='Serve the page at ADDRESS, such as 127.0.0.1:5580; "" for no page. On addresses that other machines reach it '
    "takes a token (`web_token_file` in the file).",
)
@version_option("zswarm-tracker")
def command(
    config: Path | None, listen: str | None, ready_file: Path | None, no_mdns: bool, keys: str, web: str | None
) -> int:
    """Run the tracker: it knows who is in the network and who has what."""
    return run_tracker(load_config(config, listen, no_mdns, keys, web), ready_file)


def run_tracker(config: TrackerConfig, ready_file: Path | None) -> int:
    """Supervise the tracker's processes until it is told to end; the exit code."""
    set_up_logging("tracker", config.log)
    if ready_file is not None:
        check_ready_file(ready_file)
    tracker = Tracker(config, ready_file)
    if config.keys:
        _logger.info("only peers whose key is in %s are let in", KeyFolder(Path(config.keys)).members_path)
    elif not is_local(addresses(config)[0].host):
        _logger.warning("%s", plain_warning("tracker"))
    try:
        return tracker.supervisor.run()
    finally:
        tracker.close()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def run(program: str) -> int:
    """The command line of this process, which was started as ``program``; the exit code."""
    prepare_streams()
    return run_command(command, program, sys.argv[1:])


def zswarm_tracker() -> int:
    """The command ``zswarm-tracker``."""
    return run("zswarm-tracker")


if __name__ == "__main__":
    sys.exit(run("python -m broker"))
