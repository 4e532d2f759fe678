"""``seed`` writes a seed file for content, ``verify`` checks content against one; neither needs a peer for that."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from node.cli import output
from node.cli.audits import verify_shared
from node.cli.options import (
    State,
    chosen_options,
    hash_option,
    json_option,
    peer_options,
    quiet_option,
    share_options,
    sign_option,
)
from node.cli.progress import LocalProgress, open_display
from node.client.targets import SEED_SUFFIX, existing_path, read_seed_file
from node.client.view import short_digest
from protocol.errors import DiskError, NotFoundError, SeedError, UsageError, VerificationError
from service.command_line import ExampleCommand, complete_path
from service.output_file import write_whole
from service.paths import absolute_path
from service.text import printable
from service.units import counted, format_bytes

if TYPE_CHECKING:
    from node.disk.share_options import Skipped
    from protocol.seed_formats import Seed
    from service.signing_keys import SigningKey

STDOUT = "-"
PROBLEMS_SHOWN = 20
EXTRA_SHOWN = 3
SeedFormat = Literal["text", "msgpack"]


@click.command(
    cls=ExampleCommand,
    examples="seed model.bin\nseed dataset/ -o dataset.seed\nseed model.bin --format text --hash sha256 -o -\n"
    "seed model.bin --sign release",
)
@click.argument("path", shell_complete=complete_path)
@click.option(
    "-o",
    "--output",
    "out",
    metavar="FILE",
    help="Where to write it; - is standard output. [NAME.seed]",
    shell_complete=complete_path,
)
@click.option(
    "--format",
    "seed_format",
    type=click.Choice(["text", "msgpack"]),
    help="text: one file, readable; msgpack: directories and signatures too. [text for an unsigned file, else msgpack]",
)
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@share_options
@hash_option
@sign_option
@quiet_option
@json_option
@click.pass_obj
def seed(
    state: State,
    path: str,
    out: str | None,
    seed_format: SeedFormat | None,
    force: bool,
    follow_links: bool,
    link_roots: tuple[str, ...],
    posix_names: bool,
    algorithm: str | None,
    sign_with: str | None,
) -> None:
    """Write the seed of a file or directory.

    That is its name, size and digests. Needs no peer. With the seed, others can 'get' the content and 'verify' it.
    """
    from node.disk.hashing import hash_content, measure
    from protocol.seed_formats import Seed, format_seed
    from protocol.seed_formats import seed_format as format_called

    source = existing_path(path)
    chosen: SeedFormat = seed_format or ("msgpack" if source.is_dir() or sign_with is not None else "text")
    key = None
    if sign_with is not None:
        from service.signing_keys import load_signing_key

        if not format_called(chosen).takes_signatures:
            raise SeedError(f"the {chosen} format has no room for a signature; use --format msgpack")
        key = load_signing_key(sign_with)
    if chosen == "text" and source.is_dir():
        raise SeedError(f"{path} is a directory: the text format describes one file; use --format msgpack")
    if out == STDOUT and state.options.json:
        raise click.UsageError("--json and '-o -' both write to standard output; use one of them")
    target = absolute_path(f"{source.name}{SEED_SUFFIX}" if out is None else out)
    if out != STDOUT:
        _check_free(target, force)
    options = chosen_options(source, follow_links, link_roots, posix_names)
    with open_display(state.options.quiet) as display:
        progress = LocalProgress(display, source.name, "hashing", measure(source, options), state.services.clock)
        hashed = hash_content(source, algorithm or "blake3", progress, None, options)
    made = Seed(source.name, hashed.manifest)
    if key is not None:
        made = _signed(made, key)
    if hashed.skipped and not state.options.quiet:
        output.left_out(hashed.skipped, bool(options.link_roots))
    data = format_seed(made, chosen)
    if out == STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        _write_seed(target, data)
        _tell_seed(state, target, chosen, made, hashed.skipped)


def _signed(made: Seed, key: SigningKey) -> Seed:
    from protocol.seed_formats import seed_link
    from protocol.signature import sign
    from service.signing_keys import moment_now

    return msgspec.structs.replace(made, signature=sign(key.secret, seed_link(made), moment_now()))


def _tell_seed(state: State, target: Path, seed_format: str, made: Seed, skipped: Skipped) -> None:
    from node.trust import signers_of
    from protocol.link import format_link
    from protocol.seed_formats import seed_link

    manifest = made.manifest
    if state.options.json:
        link = format_link(seed_link(made))
        fields = {"ok": True, "seed": str(target), "format": seed_format, "name": made.name, "link": link}
        facts = {"length": manifest.length, "pieces": manifest.piece_count, "digest": manifest.digest}
        output.print_json(fields | facts | {"skipped": skipped, "signed_by": signers_of(made.signature)})
    elif state.options.quiet:
        output.print_path(str(target))
    else:
        size = f"{format_bytes(manifest.length)} in {counted(manifest.piece_count, 'piece')}"
        print(f"{printable(str(target))}  {printable(made.name)}, {size}, {short_digest(manifest.digest)}")


@click.command(
    cls=ExampleCommand,
    examples="verify /data/model.bin model.seed\nverify dataset/ dataset.seed --json\nverify model.bin --repair",
)
@click.argument("path", metavar="PATH|NAME", shell_complete=complete_path)
@click.argument("seedfile", metavar="[SEEDFILE]", default="", shell_complete=complete_path)
@click.option("--repair", is_flag=True, help="Fetch wrong pieces of NAME again, and write them in place.")
@peer_options
@json_option
@click.pass_obj
def verify(state: State, path: str, seedfile: str, repair: bool) -> None:
    """Check a file or directory against a seed, or shared content against its digest.

    Every byte of it is read. The exit code is 5 if anything differs. With SEEDFILE no peer is needed; files in a
    directory that the seed does not name are listed, but do not count as a difference. Without it, NAME (or a digest,
    or a path) is something that the running peer shares, and --repair has the peer fetch its wrong pieces from others.
    """
    if not seedfile:
        verify_shared(state, path, repair)
        return
    if repair:
        raise UsageError(f"--repair is for what a peer shares; to repair a copy: get {seedfile} -o DIR --force")
    from node.disk.existing import extra_paths
    from node.disk.hashing import verify_path
    from node.trust import signers_of
    from protocol.seed_formats import parse_seed

    place = existing_path(path)
    try:
        described = parse_seed(read_seed_file(absolute_path(seedfile)))
    except SeedError as error:
        raise SeedError(f"{seedfile}: not a usable seed: {error}") from None
    manifest = described.manifest
    with open_display(state.options.quiet) as display:
        progress = LocalProgress(display, place.name, "verifying", manifest.length, state.services.clock)
        problems = [str(problem) for problem in verify_path(place, manifest, progress)]
    extra = extra_paths(place, manifest) if place.is_dir() else []
    if state.options.json:
        facts = {"path": str(place), "name": described.name, "length": manifest.length, "digest": manifest.digest}
        signed = {"signed_by": signers_of(described.signature)}
        output.print_json({"ok": not problems} | facts | signed | {"problems": problems, "extra": extra})
    if not problems:
        if not (state.options.json or state.options.quiet):
            size = f"{format_bytes(manifest.length)} in {counted(manifest.piece_count, 'piece')}"
            by = "".join(f", signed by {key}" for key in signers_of(described.signature))
            print(f"{printable(str(place))}  {size}, matches the seed{by}")
        if extra and not state.options.quiet:
            _tell_extra(place, extra)
        return
    _tell_problems(state, place, described.name, seedfile, problems)


def _tell_extra(place: Path, extra: list[str]) -> None:
    named = ", ".join(extra[:EXTRA_SHOWN]) + (", ..." if len(extra) > EXTRA_SHOWN else "")
    found = "1 entry" if len(extra) == 1 else f"{len(extra)} entries"
    what = "'get' takes that for other content, and 'get --force' deletes them"
    output.warn(f"note: {place} also has {found} not in the seed: {named}; {what}")


def _tell_problems(state: State, place: Path, name: str, seedfile: str, problems: list[str]) -> None:
    if not state.options.json:
        for problem in problems[:PROBLEMS_SHOWN]:
            print(printable(problem))
        if len(problems) > PROBLEMS_SHOWN:
            print(f"... and {len(problems) - PROBLEMS_SHOWN} more")
    found = counted(len(problems), "difference")
    again = f"get {shlex.quote(seedfile)} -o {shlex.quote(str(place.parent))} --force"
    called = "" if place.name == name else f", as {name}"
    text = f"{place} does not match {seedfile}: {found}; fetch it again{called} with: {again}"
    if not state.options.json:
        raise VerificationError(text)
    output.error(text)
    click.get_current_context().exit(VerificationError.exit_code)


def _check_free(target: Path, force: bool) -> None:
    if target.is_dir():
        raise DiskError(f"{target} is a directory; name a file with -o")
    if target.exists() and not target.is_file():
        raise DiskError(f"{target} is not a file; name another with -o, or give -o - for standard output")
    if target.exists() and not force:
        raise DiskError(f"{target} exists; choose another with -o, or replace it with --force")
    if not target.parent.is_dir():
        raise NotFoundError(f"{target.parent}: no such directory to write the seed to")


def _write_seed(target: Path, data: bytes) -> None:
    try:
        write_whole(target, data)
    except OSError as error:
        raise DiskError(f"cannot write {target}: {error.strerror}") from error
