"""The command line: ``zswarm [OPTIONS] [COMMAND ...]``, or ``python -m node``. Owns dispatch, errors and exit codes.

The commands are in `node.cli.transfers` (share, get), `node.cli.following` (follow), `node.cli.peer` (list, peers,
status, remove, limit, leave, join, stop) and `node.cli.local` (seed, verify). Exit codes: 0 success, 2 usage,
3 not found, 4 network, 5 verification, 6 disk, 130 Ctrl-C, 1 anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli import following as cli_following
from node.cli import local as cli_local
from node.cli import output
from node.cli import peer as cli_peer
from node.cli import transfers as cli_transfers
from node.cli.options import State, group_options
from node.cli.session import Client, Foreground, Options, Services
from node.config import PROGRAM, PeerSettings
from node.identity import is_free
from node.local_messages import ApiReply
from protocol.errors import ZswarmError
from service.command_line import run_command, write_examples

if TYPE_CHECKING:
    from node.stored import Stored

EXAMPLES = """
--config peer.yaml
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
        write_examples(ctx, formatter, EXAMPLES)


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
    directory; share, get and follow run one themselves where there is none.
    """
    if ctx.invoked_subcommand is None:
        state = ctx.find_object(State)
        assert state is not None
        ctx.exit(state.services.run_peer(state.options.settings()))


for _command in (
    cli_transfers.share,
    cli_transfers.get,
    cli_following.follow,
    cli_peer.list_command,
    cli_peer.peers,
    cli_peer.status,
    cli_peer.remove,
    cli_peer.limit,
    cli_peer.leave,
    cli_peer.join,
    cli_peer.stop,
    cli_local.seed,
    cli_local.verify,
):
    commands.add_command(_command)


def main(argv: Sequence[str], services: Services | None = None, program: str = PROGRAM) -> int:
    """Run the command line ``argv`` (without the program, which was started as ``program``) and return its exit
    code."""
    options = Options()
    state = State(options, services or real_services(options, program))

    def failed(error: ZswarmError) -> None:
        if state.options.json:
            output.print_json(output.error_fields(error))

    return run_command(commands, program, argv, obj=state, failed=failed)


def real_services(options: Options, program: str = PROGRAM) -> Services:
    """The running peer's socket, and peers of this project; imported when a command first needs them."""

    def tell(text: str) -> None:
        if not options.quiet:
            output.warn(text)

    def client(data_dir: Path) -> Client:
        from node.api_client import ApiClient

        return ApiClient(data_dir, tell, program)

    def foreground(settings: PeerSettings) -> Foreground:
        from node.peer import Peer

        return Peer(settings, tell, foreground=True)

    def run_peer(settings: PeerSettings) -> int:
        from node.peer import run_peer as run

        return run(settings)

    def stored(data_dir: Path) -> Stored:
        from node.stored import read_stored

        return read_stored(data_dir)

    def remove(data_dir: Path, name: str, path: str) -> ApiReply:
        from node.stored import remove_stored

        return remove_stored(data_dir, name, path, tell)

    return Services(
        client=client,
        foreground=foreground,
        run_peer=run_peer,
        is_free=is_free,
        stored=stored,
        remove_stored=remove,
        tell=tell,
    )
