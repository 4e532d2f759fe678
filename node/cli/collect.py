"""The command ``gc``: deletes leftovers of earlier work that are not used any more."""

from __future__ import annotations

import click

from node.api_messages import ApiCollect, ApiCollected
from node.cli import output
from node.cli.options import State, json_option, peer_options
from node.client.session import expected, maybe_peer
from service.command_line import ExampleCommand
from service.text import printable
from service.units import counted, format_bytes

COLLECT_SECONDS = 120.0
"""A partial download may be a million files."""
KINDS = {"download": "partial download", "seed": "seed", "journal": "damaged journal", "mend": "note of a mend"}


@click.command(cls=ExampleCommand, examples="gc --dry-run\ngc\ngc --json")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@peer_options
@json_option
@click.pass_obj
def gc(state: State, dry_run: bool) -> None:
    """Remove what is not used any more.

    That is seeds in the data directory that nothing shared or fetched needs, partial downloads that no record names,
    notes of mends that have ended, and damaged journals. Interrupted downloads stay, and so does all content that is
    shared or was downloaded. Works without a running peer too.
    """
    with maybe_peer(state.options, state.services) as session:
        if session is not None:
            reply = session.request(ApiCollect(session.next_id(), dry_run), ApiCollected, COLLECT_SECONDS)
        else:
            data_dir = state.options.settings().data_path
            reply = expected(state.services.collect_stored(data_dir, dry_run), ApiCollected)
    total = sum(unused.bytes for unused in reply.removed)
    if state.options.json:
        facts = {"ok": True, "dry_run": dry_run, "bytes": total}
        output.print_json(facts | {"removed": reply.removed, "left": reply.left})
        return
    for unused in reply.removed:
        print(f"{KINDS[unused.kind]}  {printable(unused.path)}  {format_bytes(unused.bytes)}")
    if state.options.quiet:
        return
    for reason in reply.left:
        output.warn(f"left: {printable(reason)}")
    done = f"{'would remove' if dry_run else 'removed'} {counted(len(reply.removed), 'thing')}, {format_bytes(total)}"
    output.warn(done if reply.removed else "nothing to remove")
