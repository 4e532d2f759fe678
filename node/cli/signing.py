"""``signing-key``: makes a key for 'share --sign', and prints its public half. Needs no peer."""

from __future__ import annotations

import click

from node.cli import output
from node.cli.options import State, json_option, quiet_option
from service.command_line import ExampleCommand, complete_path
from service.text import printable


@click.command("signing-key", cls=ExampleCommand, examples="signing-key release\nsigning-key /srv/keys/release.key")
@click.argument("key", shell_complete=complete_path)
@quiet_option
@json_option
@click.pass_obj
def signing_key(state: State, key: str) -> None:
    """Make a signing key, unless it exists, and print its public key.

    KEY is a name, for a file in ~/.config/zswarm/signing, or with a slash a path, in a directory that only its owner
    can enter (mode 700). 'share --sign KEY' signs with it; give the printed key to 'get --signed-by'. Keep the file
    secret and back it up: anyone who has it can decide what its names mean.
    """
    from service.signing_keys import make_signing_key

    made, fresh = make_signing_key(key)
    if state.options.json:
        output.print_json({"ok": True, "key": made.public, "file": str(made.path), "new": fresh})
        return
    print(made.public, flush=True)
    if not state.options.quiet:
        place = printable(str(made.path))
        output.warn(f"made {place}; keep it secret and back it up" if fresh else f"{place} already exists; it is kept")
