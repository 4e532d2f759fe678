"""A program's command line: whatever goes wrong is one line on standard error and an exit code. Owns the version of the
product, the examples of a help text, which name the program as it was started, and completion for shells. For programs
and not for their children, which are told their settings by the supervisor: click is slow to import.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem, shell_complete

from protocol.errors import DiskError, UsageError, ZswarmError
from protocol.limits import PROTOCOL_VERSION
from service.streams import error as tell_error
from service.streams import warn
from service.text import check_utf8

VERSION = "0.1.0"
"""Of the product. What is built of it takes the number from here."""
EXIT_BROKEN_PIPE = 1
EXIT_INTERRUPTED = 130
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class ExampleCommand(click.Command):
    """A command whose help ends in examples: ``examples`` is one command line without the program per line."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_examples(ctx, formatter, self._examples)


def write_examples(ctx: click.Context, formatter: click.HelpFormatter, examples: str) -> None:
    """The examples section of a help text, one for each line of ``examples``."""
    with formatter.section("Examples"):
        for line in examples.strip().splitlines():
            formatter.write(f"{'':{formatter.current_indent}}{program_of(ctx)} {line.strip()}\n")


def program_of(ctx: click.Context) -> str:
    """The program as the user started it, such as ``zswarm`` or ``python -m node``."""
    return ctx.find_root().info_name or ""


def version_option(product: str) -> Callable[[F], F]:
    """``--version`` of ``product``; `VERSION`, and the version of the protocol, which must be that of the others."""
    message = f"{product} {VERSION} (protocol {PROTOCOL_VERSION})"
    return click.version_option(VERSION, "--version", message=message, help="Show the version and exit.")


def run_command(
    command: click.Command,
    program: str,
    arguments: Sequence[str],
    obj: Any = None,
    failed: Callable[[ZswarmError], None] | None = None,
) -> int:
    """Run ``command``, that of ``program``, with ``arguments``; the exit code, which is what it returns if it is a
    number. ``obj`` is click's; ``failed`` is called with an error after it was told to the person. A shell that asks
    for completions (`completion_variable`) is answered instead."""
    _heed_signals_as_process_1()
    question = os.environ.get(completion_variable(program), "")
    try:
        try:
            if question:
                code = _complete(command, program, question, obj)
            else:
                code = _invoke(command, program, arguments, obj)
            sys.stdout.flush()
        except click.ClickException as error:
            return _fail(UsageError(_click_text(error)), failed)
        except ZswarmError as error:
            return _fail(error, failed)
        except BrokenPipeError:
            raise
        except OSError as error:
            return _fail(DiskError(_system_text(error)), failed)
        except (click.Abort, KeyboardInterrupt):
            warn("interrupted")
            return EXIT_INTERRUPTED
        return code
    except BrokenPipeError:  # whoever read our output is gone: nothing more can be said there
        return EXIT_BROKEN_PIPE
    except DiskError as error:  # standard output failed while something else was told
        return _fail(error, None)


def _heed_signals_as_process_1() -> None:
    """The kernel withholds from process 1, that of a container, each signal that it has no handler for."""
    if os.getpid() == 1:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)


def completion_variable(program: str) -> str:
    """The environment variable with which a shell asks ``program`` for completions, ``_ZSWARM_COMPLETE`` of
    ``zswarm``: ``bash_source`` for what switches them on in bash, the rest is between that and click."""
    return f"_{program}_COMPLETE".replace("-", "_").upper()


def complete_path(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell completes the names of files and directories."""
    return [CompletionItem(incomplete, type="file")]


def complete_directory(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell completes the names of directories."""
    return [CompletionItem(incomplete, type="dir")]


def parsed_by(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """The callback of an option whose value ``parse`` reads, raising `UsageError`; None where it is not given."""

    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> T | None:
        try:
            return None if value is None else parse(value)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


def _invoke(command: click.Command, program: str, arguments: Sequence[str], obj: Any) -> int:
    for word in arguments:
        check_utf8(word)
    try:
        # Not by ``main``, which makes an `Abort` of any Ctrl-C, and ends the program when a pipe is closed.
        with command.make_context(program, list(arguments), obj=obj) as context:
            result = command.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return result if isinstance(result, int) else 0


def _complete(command: click.Command, program: str, question: str, obj: Any) -> int:
    code = shell_complete(command, {"obj": obj}, program, completion_variable(program), question)
    if code:
        raise UsageError(
            f"environment variable {completion_variable(program)}: {question!r} is not bash_source, zsh_source or "
            "fish_source"
        )
    return code


def _fail(error: ZswarmError, failed: Callable[[ZswarmError], None] | None) -> int:
    tell_error(str(error))
    if failed is not None:
        failed(error)
    sys.stdout.flush()
    return error.exit_code


def _click_text(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    text = " ".join(error.format_message().split()).rstrip(".")  # a list of choices has lines of its own
    return f"{text}; see '{context.command_path} --help'" if context else text


def _system_text(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
