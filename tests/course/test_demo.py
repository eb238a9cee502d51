"""`course demo`: from an empty database to a prediction, and nothing left running."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from course.running_steps import _Running
from course.services import PARTS, SERVICES
from course.steps import STEPS, Step
from tests.conftest import ROOT
from tests.course.conftest import Course, posix_only
from tests.lessons import blocks


@pytest.mark.slow
def test_the_demo_ends_with_a_prediction_and_stops_its_servers(
    course: Course, tmp_path: Path
) -> None:
    course.variables["MODEL_DIR"] = str(tmp_path / "model")  # part 6's lesson may be running
    printed = course.ok("demo")

    for step in STEPS:
        # Somebody may use port 8000 on this machine; then the demo takes another.
        command = re.escape(f"$ {step.command}").replace("8000", r"\d+")
        assert re.search(command, printed), step.command
    assert re.search(r"rows generated +1,000", printed)
    assert re.search(r"validation accuracy +\d\.\d+", printed)
    assert re.search(r"model version +1\b", printed)
    assert re.search(r"prediction +(setosa|versicolor|virginica)", printed)
    assert re.search(r"answered in the chat +\d+ tokens", printed)
    assert re.search(r"total time +\d+\.\d s", printed)
    assert f"http://localhost:{course.variables['MLFLOW_PORT']}" in printed
    assert course.nothing_is_left()


@posix_only
def test_a_stack_that_ran_before_is_used_and_left_running(course: Course) -> None:
    course.ok("up")
    before = course.pid("mlflow-server")
    with course.start("demo") as demo:
        read = course.interrupt(
            demo,
            "SIGINT",
            lambda printed: (
                printed.count("runs already") == len(SERVICES) and "create the table" in printed
            ),
        )
    assert read.count("runs already") == len(SERVICES)
    assert demo.returncode == 130
    assert course.pid("mlflow-server") == before


def test_a_demo_beside_a_part_that_runs_says_which_servers_stay(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one short step: what is said at the end does not depend on the steps."""
    from course.demo import run_demo

    course.ok("up", "part1")
    step = Step("part3", "look", "uv run python -m part3.promote_model --help", shows="Usage")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in course.variables.items():
            patch.setenv(name, value)
        run_demo(keep=False, steps=[step])
    run, stopped = capsys.readouterr().out.split("These servers are stopped")
    assert "postgres-server" in run.split("These servers run")[1]
    assert "mlflow-server" in stopped
    assert course.ok("status").count("stopped") == len(SERVICES) - 1


@pytest.mark.slow
def test_keep_leaves_the_servers_running(course: Course) -> None:
    """With one step only: the rest of the demo says nothing more about --keep."""
    from course.demo import run_demo

    with pytest.MonkeyPatch.context() as patch:
        for name, value in course.variables.items():
            patch.setenv(name, value)
        run_demo(keep=True, steps=STEPS[:1])
    assert course.pid("postgres-server")


@posix_only
@pytest.mark.parametrize(
    ("signal_name", "printed"),
    [
        ("SIGINT", ""),  # Python itself is still starting
        ("SIGINT", "✓ postgres-server"),
        ("SIGTERM", "part2"),
        ("SIGKILL", "✓ postgres-server"),
    ],
)
def test_an_interrupted_demo_leaves_nothing_or_down_removes_it(
    course: Course, signal_name: str, printed: str
) -> None:
    with course.start("demo") as demo:
        course.interrupt(demo, signal_name, lambda text: printed in text)
    if signal_name == "SIGKILL":
        course.ok("down")
    elif printed:
        assert demo.returncode == 130
    assert course.nothing_is_left()


def test_a_step_that_fails_shows_what_it_printed_and_ends_the_demo(course: Course) -> None:
    course.ok("up", "part1")
    with course.connect() as connection:
        connection.execute("CREATE TABLE iris_data (id int, sepal_length text)")
    done = course.run("demo")
    assert done.returncode == 1
    assert "✗ part1 create the table" in done.stdout
    assert "has other columns" in done.stdout
    assert "`uv run python -m part1.table_creator` ended with exit status 1" in done.stderr


def test_to_look_at_what_a_server_prints_does_not_disturb_it() -> None:
    with tempfile.TemporaryFile() as output:
        script = "import time; [print(i, flush=True) or time.sleep(0.001) for i in range(300)]"
        process = subprocess.Popen([sys.executable, "-c", script], stdout=output)
        running = _Running(STEPS[0], "", process, output, 0.0)
        while process.poll() is None:
            running.printed()
        assert running.printed() == "".join(f"{i}\n" for i in range(300))


@pytest.mark.parametrize("part", sorted({step.part for step in STEPS}))
def test_the_demo_runs_what_the_lessons_print(part: str) -> None:
    (folder,) = ROOT.glob(f"{part}*/")
    lesson = "\n".join(block.text for block in blocks(folder / "README.md"))
    assert [s.command for s in STEPS if s.part == part and s.command not in lesson] == []
    assert part in PARTS
