"""The steps of `course demo`: the commands that the lessons print.

A later part adds a step here, and to course.services.PARTS what its part needs.
"""

from dataclasses import dataclass, field

API_PORT = 8000  # of the model API in the commands below

_ROWS = r"wrote ([\d,]+) rows"
_ANSWERS = r"^(sent|answers|rows) "


@dataclass(frozen=True)
class Step:
    """One command of a lesson.

    `shows` is a pattern of the output lines worth showing; `facts` names what the summary reports,
    each with a pattern whose first group is the value. A step in the background goes on while the
    next ones run; with `ready`, the next one waits until the model API answers at this path, and
    the step is a server that is stopped at the end.
    """

    part: str
    title: str
    command: str
    shows: str
    facts: dict[str, str] = field(default_factory=dict)
    background: bool = False
    ready: str = ""
    exit_status: int = 0


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
    Step(
        part="part6",
        title="download the champion",
        command="uv run python -m part6.download_model --model-name sk_model --onnx",
        shows=r"^(model|SHA-256|serves) ",
    ),
    Step(
        part="part6",
        title="serve it",
        command="MODEL_WATCH_SECONDS=1 uv run uvicorn part6.app:app --port 8000 --no-access-log "
        "--timeout-graceful-shutdown 15",
        shows="serving",
        background=True,
        ready="/health/ready",
    ),
    Step(
        part="part6",
        title="ask it for predictions over HTTP",
        command="uv run python -m part6.send_requests --count 300 --rate 300",
        shows=_ANSWERS,
        facts={"predictions over HTTP": r"answers +200: ([\d,]+)"},
    ),
    Step(
        part="part6",
        title="train a new champion meanwhile",
        command=(
            "uv run python -m part6.save_model_to_registry --model-name sk_model --kernel linear "
            "--promote"
        ),
        shows="champion",
        background=True,
    ),
    Step(
        part="part6",
        title="the new champion takes over under traffic",
        command="uv run python -m part6.send_requests --rate 100 --until-swap",
        shows=_ANSWERS,
        facts={"swapped under traffic": r"rows +(version.+)"},
    ),
    Step(
        part="part6",
        title="send flowers that are too long",
        command="uv run python -m part6.send_requests --count 90 --batch 10 --rate 45 --drift 1",
        shows=_ANSWERS,
    ),
    Step(
        part="part6",
        title="find the drift (exit status 1)",
        command="uv run python -m part6.monitor",
        shows=r" drift |^report|^error: drift",
        facts={"drift found": r"error: drift in (.+?), in each"},
        exit_status=1,
    ),
    Step(
        part="part7",
        title="ask the course about what you have seen",
        command="(cd part7-llm-serving && "
        'uv run python -m demo.ask "When does a new version become champion?")',
        shows=r"^[A-Z].*[.:]$|^\(part|^reply|^trace",
        facts={"answered in the chat": r"complete, (\d+ tokens)"},
    ),
)
