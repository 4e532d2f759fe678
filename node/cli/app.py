"""The command line: ``python -m node [OPTIONS] [COMMAND ...]``. Owns dispatch, errors and exit codes.

The commands are in `node.cli.transfers` (share, get), `node.cli.peer` (list, peers, status, remove, leave, join,
stop) and `node.cli.local` (seed, verify). Exit codes: 0 success, 2 usage, 3 not found, 4 network,
5 verification, 6 disk, 130 Ctrl-C, 1 anything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from node.cli import local as cli_local
from node.cli import output
from node.cli import peer as cli_peer
from node.cli import transfers as cli_transfers
from node.cli.options import PROGRAM, State, group_options, write_examples
from node.cli.session import Client, Foreground, Options, Services
from node.cli.targets import check_utf8
from node.cli.transfers import INTERRUPTED
from node.config import PeerSettings
from protocol.errors import DiskError, UsageError, ZswarmError

EXAMPLES = """
--config configs/peer.yaml
share model.bin
get model.bin -o /data
status --watch
"""


class Commands(click.Group):
    """The group, with its commands in the order a person meets them and examples at the end."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        write_examples(formatter, EXAMPLES)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND ...]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@group_options
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Get the same files onto many machines, fast and verified.

    Without COMMAND this runs a peer until Ctrl-C. The commands talk to the peer that runs on the same data
    directory; share and get run one themselves where there is none.
    """
    if ctx.invoked_subcommand is None:
        state = ctx.find_object(State)
        assert state is not None
        ctx.exit(state.services.run_peer(state.options.settings()))


for _command in (
    cli_transfers.share,
    cli_transfers.get,
    cli_peer.list_command,
    cli_peer.peers,
    cli_peer.status,
    cli_peer.remove,
    cli_peer.leave,
    cli_peer.join,
    cli_peer.stop,
    cli_local.seed,
    cli_local.verify,
):
    commands.add_command(_command)


def main(argv: Sequence[str], services: Services | None = None) -> int:
    """Run the command line ``argv`` (without the program) and return its exit code."""
    state = State(Options(), services or real_services())
    try:
        for word in argv:
            check_utf8(word)
        result: Any = commands.main(args=list(argv), prog_name=PROGRAM, standalone_mode=False, obj=state)
        sys.stdout.flush()
    except click.ClickException as error:
        return _fail(state, UsageError(_click_text(error)))
    except ZswarmError as error:
        return _fail(state, error)
    except (BrokenPipeError, SystemExit):
        # Whoever read our output is gone (click turns that into SystemExit): nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(state, DiskError(str(error)))
    except (click.Abort, KeyboardInterrupt):
        output.warn("interrupted")
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _fail(state: State, error: ZswarmError) -> int:
    output.error(str(error))
    if state.options.json:
        output.print_json({"ok": False, "error": {"code": error.code, "detail": str(error)}})
    return error.exit_code


def _click_text(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    text = error.format_message().rstrip(".")
    return f"{text}; see '{context.command_path} --help'" if context else text


def real_services() -> Services:
    """The running peer's socket, and peers of this project; imported when a command first needs them."""

    def client(data_dir: Path) -> Client:
        from node.api_client import ApiClient

        return ApiClient(data_dir)

    def foreground(settings: PeerSettings) -> Foreground:
        from node.peer import ForegroundPeer

        return ForegroundPeer(settings, output.warn)

    def run_peer(settings: PeerSettings) -> int:
        from node.peer import run_peer as run

        return run(settings)

    def is_free(data_dir: Path) -> bool:
        from node.identity import LOCK_NAME, DataDirLock

        if not os.access(data_dir / LOCK_NAME, os.R_OK | os.W_OK):
            return True  # nobody ever ran there, or not this user: looking must not make the directory
        try:
            DataDirLock(data_dir).release()
        except UsageError:
            return False
        return True

    return Services(client=client, foreground=foreground, run_peer=run_peer, is_free=is_free)
