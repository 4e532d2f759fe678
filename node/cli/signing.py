"""``signing-key``: makes a key for 'share --sign', and says what others believe it by. Needs no peer."""

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
    """Make a signing key, if it is not there yet, and print its public key.

    KEY is a name, for a file in ~/.config/zswarm/signing, or with a slash a path in a directory that is its owner's
    alone (mode 700). 'share --sign KEY' signs with it, 'get --signed-by' takes what is printed. Keep the file secret,
    and keep a copy: whoever has it decides what its names mean.
    """
    from service.signing_keys import make_signing_key

    made, fresh = make_signing_key(key)
    if state.options.json:
        output.print_json({"ok": True, "key": made.public, "file": str(made.path), "new": fresh})
        return
    print(made.public, flush=True)
    if not state.options.quiet:
        place = printable(str(made.path))
        output.warn(
            f"made {place}; keep it secret, and keep a copy" if fresh else f"{place} is there already; it stays"
        )
