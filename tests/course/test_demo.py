"""`course demo`: from an empty database to a prediction, and nothing left running."""

import re
import signal
import time

import pytest

from course.services import PARTS
from course.steps import STEPS
from tests.conftest import ROOT
from tests.course.conftest import Course
from tests.lessons import blocks


@pytest.mark.slow
def test_the_demo_ends_with_a_prediction_and_stops_its_servers(course: Course) -> None:
    printed = course.ok("demo")

    for step in STEPS:
        assert f"$ {step.command}" in printed
    assert re.search(r"rows generated +1,000", printed)
    assert re.search(r"validation accuracy +\d\.\d+", printed)
    assert re.search(r"model version +1\b", printed)
    assert re.search(r"prediction +(setosa|versicolor|virginica)", printed)
    assert re.search(r"total time +\d+\.\d s", printed)
    assert f"http://localhost:{course.variables['MLFLOW_PORT']}" in printed
    assert course.nothing_is_left()


def test_a_stack_that_ran_before_is_used_and_left_running(course: Course) -> None:
    course.ok("up")
    before = course.pid("mlflow-server")
    with course.start("demo") as demo:
        assert demo.stdout is not None
        read = ""
        while "create the table" not in read:
            read += demo.stdout.readline()
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert read.count("runs already") == 3
    assert demo.returncode == 130
    assert course.pid("mlflow-server") == before


@pytest.mark.slow
def test_keep_leaves_the_servers_running(course: Course) -> None:
    """With steps of part 1 only: the rest of the demo says nothing more about --keep."""
    from course.demo import run_demo

    part1 = [step for step in STEPS if step.part == "part1"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in course.variables.items():
            patch.setenv(name, value)
        run_demo(keep=True, steps=part1)
    assert course.pid("postgres-server")


@pytest.mark.parametrize(
    ("number", "after"),
    [(signal.SIGINT, 1.2), (signal.SIGINT, 3.5), (signal.SIGTERM, 7.0), (signal.SIGKILL, 4.0)],
)
def test_an_interrupted_demo_leaves_nothing_or_down_removes_it(
    course: Course, number: signal.Signals, after: float
) -> None:
    with course.start("demo") as demo:
        time.sleep(after)
        demo.send_signal(number)
        demo.communicate(timeout=60)
    if number == signal.SIGKILL:
        course.ok("down")
    else:
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


@pytest.mark.parametrize("part", sorted({step.part for step in STEPS}))
def test_the_demo_runs_what_the_lessons_print(part: str) -> None:
    lesson = "\n".join(block.text for block in blocks(ROOT / part / "README.md"))
    assert [s.command for s in STEPS if s.part == part and s.command not in lesson] == []
    assert part in PARTS
