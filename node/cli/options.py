"""The click options that the commands have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from node.client.session import Options, Services
from node.client.targets import existing_path
from node.disk.share_options import ShareOptions
from service.command_line import complete_directory, complete_path, version_option

F = TypeVar("F", bound=Callable[..., Any])


class State(Struct):
    """What click passes from the program's options to the command."""

    options: Options
    services: Services


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Remember a common option wherever it was given; one that is absent here keeps the value of an outer level."""
    if value in (None, False, ()) or param.name is None:
        return
    if "" in (value if isinstance(value, tuple) else [value]):  # a shell variable that is not set
        raise click.BadParameter("is empty; leave it out for the default", ctx, param)
    if isinstance(value, tuple):  # of an option that may be given several times
        value = ",".join(value)
    setattr(ctx.find_object(State).options, param.name, value)  # type: ignore[union-attr]


def _common(*names: str, help: str, **more: Any) -> Callable[[F], F]:
    return click.option(*names, help=help, callback=_keep, expose_value=False, **more)


_config = _common(
    "--config",
    metavar="FILE",
    help="The peer's configuration file (YAML); else peer.yaml in ~/.config/zswarm or /etc/zswarm.",
    shell_complete=complete_path,
)
_data_dir = _common(
    "--data-dir",
    metavar="DIR",
    help="The peer's data directory; it selects the peer; else $ZSWARM_DATA_DIR.",
    shell_complete=complete_directory,
)
_quiet = _common("-q", "--quiet", is_flag=True, help="No progress and no messages, only results and errors.")
_json = _common("--json", is_flag=True, help="Print the result as one line of JSON.")


def _peer_values(hidden: bool) -> Callable[[F], F]:
    tracker = _common(
        "--tracker",
        metavar="ENDPOINT",
        multiple=True,
        hidden=hidden,
        help="The tracker, e.g. tcp://10.0.0.1:5550, or each of several; else $ZSWARM_TRACKER, with commas.",
    )
    invite = _common(
        "--invite",
        metavar="LINE",
        hidden=hidden,
        help="Join a network with keys, by the LINE that 'keys init' or 'keys invite' printed; else $ZSWARM_INVITE.",
    )
    listen = _common("--listen", metavar="ENDPOINT", hidden=hidden, help="Where to serve pieces, e.g. tcp://*:5600.")
    name = _common("--name", metavar="NAME", hidden=hidden, help="The name that others see.")
    no_mdns = _common(
        "--no-mdns",
        is_flag=True,
        hidden=hidden,
        help="Neither look for a tracker on the local network nor announce one.",
    )
    return lambda command: tracker(invite(listen(name(no_mdns(command)))))


_metrics = _common(
    "--metrics",
    metavar="ADDRESS",
    help="Where a peer serves its figures to Prometheus, such as 127.0.0.1:5581; nowhere by default.",
)


def group_options(command: F) -> F:
    """The options of the program itself."""
    return _config(_data_dir(_peer_values(hidden=False)(_metrics(_quiet(version_option("zswarm")(command))))))


def peer_options(command: F) -> F:
    """The options of a command that talks to the running peer."""
    return _config(_data_dir(_peer_values(hidden=True)(_quiet(command))))


def foreground_options(command: F) -> F:
    """The options of a command that runs a peer in the foreground if none is running."""
    return _config(_data_dir(_peer_values(hidden=False)(_quiet(_json(command)))))


def json_option(command: F) -> F:
    """``--json``."""
    return _json(command)


def quiet_option(command: F) -> F:
    """``--quiet``."""
    return _quiet(command)


def share_options(command: F) -> F:
    """The options of what is shared: arguments of `chosen_options`."""
    follow = click.option(
        "--follow-links", is_flag=True, help="Share symbolic links as what they point to, if that is inside PATH..."
    )
    roots = click.option(
        "--link-root",
        "link_roots",
        multiple=True,
        metavar="DIR",
        help="...or inside DIR; may be repeated.",
        shell_complete=complete_directory,
    )
    posix = click.option(
        "--posix-names", is_flag=True, help="Allow names that Windows cannot store, for Linux receivers only."
    )
    return follow(roots(posix(command)))


def chosen_options(path: Path, follow_links: bool, link_roots: Sequence[str], posix_names: bool) -> ShareOptions:
    """The options of `share_options` for ``path``; `NotFoundError` when a root is not there."""
    roots = [str(existing_path(root)) for root in link_roots]
    followed = (str(path), *roots) if follow_links or roots else ()
    return ShareOptions(followed, posix_names)


def _one_key(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> str | None:
    if len(value) > 1:
        raise click.BadParameter("one key at a time; run the command once for each, which adds its signature")
    return value[0] if value else None


sign_option = click.option(
    "--sign",
    "sign_with",
    multiple=True,
    callback=_one_key,
    metavar="KEY",
    help="Sign it with this key, a name or a path; 'signing-key KEY' makes one.",
    shell_complete=complete_path,
)


def signed_by_option(command: F) -> F:
    """``--signed-by``: written keys."""
    return click.option(
        "--signed-by",
        multiple=True,
        metavar="KEY",
        callback=_checked_keys,
        help="Take only what this key (ed25519:...) has signed. If repeated: what one of the keys has signed.",
    )(command)


def _checked_keys(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    from protocol.signature import format_key, parse_key

    return tuple(format_key(parse_key(text)) for text in value)


hash_option = click.option(
    "--hash",
    "algorithm",
    type=click.Choice(["blake3", "sha256"]),
    help="Digest algorithm (blake3 unless the configuration says otherwise).",
)
