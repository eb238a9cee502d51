"""The edge of every script: options become a call, failures become one line and an exit status."""

import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Annotated, NoReturn

import stamina
import typer
from pydantic import ValidationError
from typer.exceptions import TyperException


class WorkFailedError(Exception):
    """The work could not be done; the message says what happened and what to do. Exit status 1."""

    exit_status = 1


class BadUsageError(WorkFailedError):
    """An option or a setting cannot be used. Exit status 2."""

    exit_status = 2


DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]


def run(script: Callable[..., None]) -> NoReturn:
    """Run `script` with the options of the command line and exit.

    Bad usage exits with status 2, a failure with 1, each with one line on stderr; only `--debug`
    shows a traceback, so that a learner reads the remedy and an engineer still finds the cause.
    """
    stamina.instrumentation.set_on_retry_hooks([])  # the scripts say themselves what they wait for
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    app = typer.Typer(add_completion=False)
    app.command()(script)
    if "--debug" not in sys.argv:
        sys.excepthook = _one_line
    command = typer.main.get_command(app)
    try:
        status = command(standalone_mode=False)
    except (WorkFailedError, TyperException) as exc:
        if "--debug" in sys.argv:
            raise
        message = _with_value(exc) if isinstance(exc, TyperException) else exc
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(exc.exit_status if isinstance(exc, WorkFailedError) else 2) from None
    if status == 130:  # what Typer makes of an interrupt
        print("interrupted", file=sys.stderr)
    raise SystemExit(status)


def _with_value(exc: TyperException) -> str:
    """Typer's message, and the value where only the pydantic error behind it has it."""
    message = exc.format_message().replace("Value error, ", "")
    if isinstance(exc.__cause__, ValidationError):
        value = repr(exc.__cause__.errors()[0]["input"])
        return message if value in message else f"{message}, and it is {value}"
    return message


def _one_line(kind: type[BaseException], exc: BaseException, _: TracebackType | None) -> None:
    """Report what nobody foresaw; Python exits with status 1 after this."""
    cause = str(exc).strip().split("\n", 1)[0]
    print(f"error: {kind.__name__}: {cause} (--debug shows the traceback)", file=sys.stderr)
