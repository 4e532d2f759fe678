"""The command line: ``zswarm [OPTIONS] [COMMAND ...]``, or ``python -m node``. Owns dispatch, errors and exit codes.

The commands are in `node.cli.transfers` (share, get), `node.cli.following` (follow), `node.cli.rollout` (rollout),
`node.cli.peer` (list, peers, status, remove, limit, leave, join, stop), `node.cli.collect` (gc), `node.cli.local`
(seed, verify), `node.cli.trace` (trace), `node.cli.audits` (audit), `node.cli.signing` (signing-key) and
`node.cli.keys` (keys). Exit codes: 0 success, 2 usage, 3 not found, 4 network, 5 verification, or a rollout that did
not reach all, 6 disk, 7 not signed, 130 Ctrl-C, 1 anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from node.cli import audits as cli_audits
from node.cli import collect as cli_collect
from node.cli import following as cli_following
from node.cli import keys as cli_keys
from node.cli import local as cli_local
from node.cli import output
from node.cli import peer as cli_peer
from node.cli import rollout as cli_rollout
from node.cli import signing as cli_signing
from node.cli import trace as cli_trace
from node.cli import transfers as cli_transfers
from node.cli.options import State, group_options
from node.client.services import real_services
from node.client.session import Options, Services
from node.config import PROGRAM
from protocol.errors import ZswarmError
from service.command_line import run_command, write_examples

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

    Without COMMAND this runs a peer until Ctrl-C. The commands talk to the peer that runs on the same data directory;
    share, get and follow run one themselves if there is none.
    """
    if ctx.invoked_subcommand is None:
        state = ctx.find_object(State)
        assert state is not None
        ctx.exit(state.services.run_peer(state.options.settings()))


for _command in (
    cli_transfers.share,
    cli_transfers.get,
    cli_following.follow,
    cli_rollout.rollout,
    cli_peer.list_command,
    cli_peer.peers,
    cli_peer.status,
    cli_trace.trace,
    cli_peer.remove,
    cli_collect.gc,
    cli_peer.limit,
    cli_peer.leave,
    cli_peer.join,
    cli_peer.stop,
    cli_local.seed,
    cli_local.verify,
    cli_audits.audit,
    cli_signing.signing_key,
    cli_keys.keys,
):
    commands.add_command(_command)


def main(argv: Sequence[str], services: Services | None = None, program: str = PROGRAM) -> int:
    """Run the command line ``argv`` (without the program, which was started as ``program``) and return its exit
    code."""
    options = Options()

    def tell(text: str) -> None:
        if not options.quiet:
            output.warn(text)

    state = State(options, services or real_services(tell, program))

    def failed(error: ZswarmError) -> None:
        if state.options.json:
            output.print_json(output.error_fields(error))

    return run_command(commands, program, argv, obj=state, failed=failed)
