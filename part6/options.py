"""Checks of options that Typer cannot say."""

import typer


def positive(value: float | None) -> float | None:
    """Refuse what is not a number above 0."""
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter(f"{value:g} is not greater than 0")
    return value


def probability(value: float) -> float:
    """Refuse what is not between 0 and 1."""
    if not 0 < value < 1:
        raise typer.BadParameter(f"{value:g} is not between 0 and 1")
    return value
