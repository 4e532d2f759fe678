"""The command ``trace``: what a download did when, as a summary, as JSON for Perfetto, and as a picture."""

from __future__ import annotations

import sys

import click
import msgspec

from node.api_messages import ApiTrace, ApiTraceReply
from node.cli import output
from node.cli.options import State, peer_options
from node.client.session import Session, running_peer
from node.client.timeline import Timeline, headline, timeline, trace_events
from node.trace import Trace
from protocol.errors import DiskError, UsageError
from service.command_line import ExampleCommand, complete_path
from service.output_file import check_whole, write_whole
from service.paths import absolute_path, expanded
from service.text import check_utf8
from service.units import counted, format_bytes

STANDARD_OUTPUT = "-"
EXAMPLES = """
trace model.bin
trace model.bin --json trace.json --png trace.png
trace model.bin --json -
"""


@click.command(cls=ExampleCommand, examples=EXAMPLES)
@click.argument("target", metavar="NAME", shell_complete=complete_path)
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    help="Write the timeline to FILE (-: standard output), which https://ui.perfetto.dev opens.",
    shell_complete=complete_path,
)
@click.option(
    "--png",
    "png_path",
    metavar="FILE",
    help="Draw it to FILE (-: standard output).",
    shell_complete=complete_path,
)
@peer_options
@click.pass_obj
def trace(state: State, target: str, json_path: str | None, png_path: str | None) -> None:
    """Show what a download of the running peer did when: pieces, sources, waits.

    NAME is a name, digest or path; the download may be under way or over. Each source has a track with the pieces that
    came from it, and so have the threads that hash and write, and what held the download back. Traces are kept for the
    last downloads, until the peer ends; 'get --trace FILE' writes that of a get which runs its own peer.
    """
    check_utf8(target)
    if json_path is not None and json_path == png_path:
        raise UsageError(f"--json and --png both name {json_path}")
    if png_path is not None:
        from node.cli.trace_picture import check_can_draw

        check_can_draw()
    with running_peer(state.options, state.services) as session:
        found = request_trace(session, target, str(absolute_path(target)))
    made = timeline(found)
    if json_path is not None:
        save_trace("--json", json_path, made)
    if png_path is not None:
        from node.cli.trace_picture import picture

        _write("--png", png_path, picture(made, headline(made, found)))
    if STANDARD_OUTPUT not in (json_path, png_path) and not state.options.quiet:
        _print_summary(made, found)


def request_trace(session: Session, target: str, path: str = "") -> Trace:
    """That of the last download that is meant by name, digest or absolute path; `RefusedError` if there is none."""
    return session.request(ApiTrace(session.next_id(), target, path), ApiTraceReply).trace


def check_trace_path(option: str, file: str) -> None:
    """`DiskError` when `save_trace` could not write to ``file``, which ``option`` names."""
    try:
        if file != STANDARD_OUTPUT:
            check_whole(expanded(file))
    except OSError as error:
        raise DiskError(f"{option} {file}: {error.strerror}") from None


def save_trace(option: str, file: str, made: Timeline) -> None:
    """Write ``made`` for Perfetto to ``file``, which ``option`` names, or to standard output. `DiskError` when that
    fails."""
    _write(option, file, msgspec.json.encode(trace_events(made)) + b"\n")


def _write(option: str, file: str, data: bytes) -> None:
    """To standard output, or to a file: `DiskError` when that fails, and what was there is kept then."""
    if file == STANDARD_OUTPUT:
        sys.stdout.buffer.write(data)
        return
    path = expanded(file)
    try:
        write_whole(path, data)
    except OSError as error:
        raise DiskError(f"{option} {path}: {error.strerror or error}") from None


def _print_summary(made: Timeline, found: Trace) -> None:
    print(headline(made, found))
    if not made.sources:
        output.warn("no piece has come yet")
    headers = ["SOURCE", ">PIECES", ">SIZE", ">CORRUPT", ">MEAN", ">LONGEST"]
    rows = [
        [
            one.title,
            str(one.pieces),
            format_bytes(one.bytes),
            str(one.corrupt),
            f"{1_000 * one.mean_seconds:.1f} ms",
            f"{1_000 * one.longest_seconds:.1f} ms",
        ]
        for one in sorted(made.sources, key=lambda one: -one.bytes)
    ]
    if rows:
        output.print_table(headers, rows)
    total = sum(made.held_back.values())
    if total:
        parts = sorted(made.held_back.items(), key=lambda item: -item[1])
        print("held back by", ", ".join(f"{cause} {100 * seconds / total:.0f} %" for cause, seconds in parts))
    if made.left_out:
        output.warn(f"{counted(made.left_out, 'piece')} came after the trace was full, and are not in it")
