"""Options that several scripts share, spelled and explained the same way everywhere."""

from pathlib import Path
from typing import Annotated

import typer

CsvOption = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Train on this file instead of scikit-learn's iris; it needs the columns "
        "sepal_length, sepal_width, petal_length, petal_width (cm) and target (0, 1, 2).",
    ),
]

RowsOption = Annotated[
    int, typer.Option("--rows", min=10, help="Train on this many of the newest rows.")
]

OutputOption = Annotated[
    Path, typer.Option("--output", help="Folder for the model and what belongs to it.")
]
