"""The `course` command: uv run course --help."""

from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="MLOps for MLE: the course.")


@app.command()
def up(part: Annotated[str | None, typer.Argument(help="A part or a service.")] = None) -> None:
    """Start the servers that a part needs (all without a name) and wait until they answer."""
    from course.home import find_home
    from course.services import named
    from course.supervisor import Supervisor

    sup = Supervisor(find_home())
    sup.up(named(part), print)


@app.command()
def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove their data too.")] = False,
) -> None:
    """Stop the servers."""
    from course.home import find_home
    from course.supervisor import Supervisor

    print(Supervisor(find_home()).down(wipe=wipe))


@app.command()
def status() -> None:
    """Show state."""
    from course.home import find_home
    from course.supervisor import Supervisor

    for s in Supervisor(find_home()).status():
        print(s)


def main() -> None:
    """Entry point."""
    app()
