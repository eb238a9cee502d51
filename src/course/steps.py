"""The steps of `course demo`: the commands that the lessons print.

A later part adds a step here, and to course.services.PARTS what its part needs.
"""

from dataclasses import dataclass, field

_ROWS = r"wrote ([\d,]+) rows"


@dataclass(frozen=True)
class Step:
    """One command of a lesson.

    `shows` is a pattern of the output lines worth showing; `facts` names what the summary reports,
    each with a pattern whose first group is the value.
    """

    part: str
    title: str
    command: str
    shows: str
    facts: dict[str, str] = field(default_factory=dict)


STEPS = (
    Step(
        part="part1",
        title="create the table",
        command="uv run python -m part1.table_creator",
        shows="table iris_data",
    ),
    Step(
        part="part1",
        title="stream rows into it",
        command="uv run python -m part1.data_generator --count 1000 --bulk",
        shows=_ROWS,
        facts={"rows generated": _ROWS},
    ),
    Step(
        part="part1",
        title="check their quality",
        command="uv run python -m part1.data_quality",
        shows=r"│ (rows|id gaps|freshness) ",
    ),
    Step(
        part="part2",
        title="train on them",
        command="uv run python -m part2.db_train",
        shows=r"Accuracy|rows",
    ),
    Step(
        part="part3",
        title="train again and register the model",
        command="uv run python -m part3.save_model_to_registry --model-name sk_model",
        shows=r"Accuracy|version|^data",
    ),
    Step(
        part="part3",
        title="promote the best version",
        command="uv run python -m part3.promote_model --model-name sk_model",
        shows="champion",
    ),
    Step(
        part="part3",
        title="load it out of the registry and predict",
        command=(
            "uv run python -m part3.load_model_from_registry --model-name sk_model --alias champion"
        ),
        shows=r"Accuracy|same as logged|->",
        facts={  # all of the version that predicts: on used data it need not be the newest
            "validation accuracy": r"Valid Accuracy : ([\d.]+)",
            "model version": r"model +\S+ version (\d+ @champion)",
            "prediction": r"-> (\w+)",
        },
    ),
)
