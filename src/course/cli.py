"""The `course` command: uv run course --help."""

import io
import signal
import sys
import traceback
from types import FrameType, TracebackType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from course.errors import CourseError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The servers of the course on your laptop, without Docker, and a tour of what they do.",
)
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running.")] = False,
    debug: DebugOption = False,
) -> None:
    """Run the lessons' commands, from the database to a prediction."""
    from course.demo import run_demo

    run_demo(keep=keep)


@app.command()
def up(
    part: Annotated[
        str | None, typer.Argument(help="A part or a service; everything without.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Start servers and wait until they answer; what runs already is reused."""
    from course.stack_view import show_start

    show_start(part)


@app.command()
def down(
    wipe: Annotated[
        bool, typer.Option("--wipe", help="Remove all data too: rows, models, logs.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Stop every server; what was committed is there again at the next `up`."""
    from course.stack_view import show_stop

    show_stop(wipe=wipe)


@app.command()
def status(debug: DebugOption = False) -> None:
    """Show each server's state, address, memory and log."""
    from course.stack_view import show_status

    show_status()


@app.command()
def logs(
    name: Annotated[
        str | None, typer.Argument(help="A service, as `course status` names it.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of the last.", min=0)] = 50,
    debug: DebugOption = False,
) -> None:
    """Print the end of a server's log."""
    from course.stack_view import show_log

    show_log(name, follow=follow, lines=lines)


@app.command()
def pid(
    name: Annotated[str, typer.Argument(help="A service, as `course status` names it.")],
    debug: DebugOption = False,
) -> None:
    """Print the process id of a server, for `kill`."""
    from course.stack_view import show_pid

    show_pid(name)


@app.command()
def doctor(debug: DebugOption = False) -> None:
    """Look at this machine and say what to do about what is in the way."""
    from course.doctor import examine

    raise typer.Exit(examine())


def main() -> NoReturn:
    """Run `course`: failures are one line on stderr and an exit status, unless --debug."""
    for name in ("SIGTERM", "SIGHUP"):  # the second is not on Windows
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores one
            signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a tick mark is no reason to fail
    debug = "--debug" in sys.argv
    if not debug:
        sys.excepthook = _one_line
    try:
        status = typer.main.get_command(app)(prog_name="course", standalone_mode=False)
    except (CourseError, TyperException) as exc:
        if debug:
            traceback.print_exc()
        else:
            message = exc.format_message() if isinstance(exc, TyperException) else exc
            if message:  # without a command, the help has said it all
                print(f"error: {message}", file=sys.stderr)
        raise SystemExit(exc.exit_status if isinstance(exc, CourseError) else 2) from None
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    if status == 130:  # what Typer makes of an interrupt
        print("interrupted", file=sys.stderr)
    raise SystemExit(status)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Let a closed terminal or `kill` clean up the way Ctrl-C does."""
    raise KeyboardInterrupt


def _one_line(kind: type[BaseException], exc: BaseException, _: TracebackType | None) -> None:
    """Report what nobody foresaw; Python exits with status 1 after this."""
    cause = str(exc).strip().split("\n", 1)[0]
    print(f"error: {kind.__name__}: {cause} (--debug shows the traceback)", file=sys.stderr)
