"""Every command of every lesson is run, and prints what the lesson says."""

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from course import ports, processes
from tests.conftest import ROOT, clean_environment
from tests.course.conftest import Course
from tests.lessons import Block, agrees, blocks, headings, runnable
from tests.waiting import PATIENCE

PARTS = sorted(path.parent.name for path in ROOT.glob("part*/README.md"))

# The sections of a lesson, in this order; between "what goes wrong" and "what you need" are steps.
FIRST_SECTIONS = {
    "README.md": ["Goal", "What you will see", "Names, variables and ports"],
    "README.ko.md": ["목표", "무엇을 보게 되나", "이름, 변수, 포트"],
}
LAST_SECTIONS = {
    "README.md": [
        "In containers",
        "What goes wrong, and why",
        "Where it stops",
        "From archive to here",
        "Exercises",
    ],
    "README.ko.md": [
        "컨테이너로",
        "무엇이 왜 잘못되나",
        "어디까지 되나",
        "archive에서 여기까지",
        "연습 문제",
    ],
}


# The ports in the blocks. Two lessons may run at once, and somebody may use one on this machine, so
# that each learner has others: the value of the variable takes the place of the number.
PORTS = {
    "8000": "CRUD_API_PORT",
    "5001": "MLFLOW_PORT",
    "8001": "TUTOR_PORT",
    "8080": "CHAT_PORT",
    "7860": "DEMO_PORT",
    "9090": "PROMETHEUS_PORT",
}
PORT = re.compile(rf"\b({'|'.join(PORTS)})\b")


# Where the settings of a part are that is no package itself.
SETTINGS = {"part7-llm-serving": ["serve.core.config", "tutor.settings", "demo.settings"]}


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Course]:
    """A learner's machine: no data, ports of its own, nothing left running afterwards."""
    course = Course(tmp_path)
    port = str(ports.choose(random.randint(20_000, 32_000)))
    course.variables |= {"CRUD_API_PORT": port, "MODEL_API_PORT": port}
    for name in ("PROMETHEUS_PORT", "GRAFANA_PORT", "LOKI_PORT"):
        course.variables[name] = str(ports.choose(random.randint(20_000, 32_000)))
    course.variables["MODEL_API_URL"] = f"http://localhost:{port}"
    course.variables["CHAT_API_URL"] = f"http://localhost:{course.variables['CHAT_PORT']}"
    course.variables["USERS_DATABASE_URL"] = f"sqlite:///{tmp_path}/users.db"
    yield course
    course.run("down", "--wipe")
    forgotten = [process for process in psutil.process_iter() if works_for(course, process)]
    processes.end(forgotten)
    assert forgotten == [], "a lesson has to stop what it starts"
    assert course.nothing_is_left()


def works_for(course: Course, process: psutil.Process) -> bool:
    """Whether a block of this learner's lesson has started a process: it inherited the variable."""
    try:
        home = process.environ().get("COURSE_HOME")
    except (psutil.Error, OSError):
        return False
    return home == course.variables["COURSE_HOME"] and processes.is_alive(process)


def wait_for_the_end(block: Block) -> None:
    """Wait for the servers that a block has asked to end; a learner types more slowly."""
    for file in re.findall(r"kill \$\(cat (\S+)\)", block.text):
        pid = int((ROOT / file).read_text(encoding="utf-8"))
        if psutil.pid_exists(pid):
            assert processes.wait([psutil.Process(pid)], PATIENCE) == []


def run_block(block: Block, course: Course) -> subprocess.CompletedProcess[str]:
    """Run one block from the repository root, as it is printed."""
    variables = course.variables
    mlflow = f"http://localhost:{variables['MLFLOW_PORT']}"
    # `uv` itself is the first word of most commands; pytest was started by it.
    uv = Path(os.environ.get("UV", sys.executable)).parent
    interpreter = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    text = PORT.sub(lambda found: variables[PORTS[found[1]]], block.text)
    done = subprocess.run(
        [*interpreter[block.language], text],
        cwd=ROOT,
        env=clean_environment()
        | variables
        | {"MLFLOW_TRACKING_URI": mlflow, "PATH": f"{uv}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode == 0:
        wait_for_the_end(block)
    return done


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform == "win32", reason="the lessons' commands are for bash")
@pytest.mark.parametrize("part", PARTS)
def test_every_command_of_a_lesson_prints_what_the_lesson_says(part: str, learner: Course) -> None:
    lesson = ROOT / part / "README.md"
    ran = 0
    for block in runnable(lesson):
        if block.needs_docker:
            continue
        done = run_block(block, learner)
        place = f"{part}/README.md:{block.line}"
        assert done.returncode == block.exit_status, f"{place}\n{block.text}\n{done.stdout}"
        if block.expected is not None:
            assert agrees(block.expected, done.stdout), (
                f"{place} shows\n{block.expected}\n\nbut this was printed\n{done.stdout}"
            )
        ran += 1
    assert ran >= 5


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", PARTS)
def test_every_container_command_of_a_lesson_works(part: str, learner: Course) -> None:
    lesson = ROOT / part / "README.md"
    steps = [block for block in runnable(lesson) if block.needs_docker]
    assert steps
    learner.variables["COMPOSE_PROJECT_NAME"] = f"lesson-{part}-{os.getpid()}"
    learner.variables["S3_CONSOLE_PORT"] = str(int(learner.variables["S3_PORT"]) + 7000)
    try:
        for block in steps:
            done = run_block(block, learner)
            place = f"{part}/README.md:{block.line}"
            assert done.returncode == block.exit_status, f"{place}\n{block.text}\n{done.stdout}"
            if block.expected is not None:
                assert agrees(block.expected, done.stdout), (
                    f"{place} shows\n{block.expected}\n\nbut this was printed\n{done.stdout}"
                )
    finally:
        down = Block(
            "bash", (), f"cd {part} && docker compose down -v --remove-orphans --rmi local", 0
        )
        run_block(down, learner)


@pytest.mark.parametrize("part", ["", *PARTS])
def test_both_languages_have_the_same_headings_and_the_same_blocks(part: str) -> None:
    english, korean = ROOT / part / "README.md", ROOT / part / "README.ko.md"
    assert [level for level, _ in headings(english)] == [level for level, _ in headings(korean)]
    assert [(b.language, b.options, b.text) for b in blocks(english)] == [
        (b.language, b.options, b.text) for b in blocks(korean)
    ]


def without_layout(text: str) -> str:
    """The lines that hold something, without indentation."""
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("part", PARTS)
def test_what_a_lesson_quotes_stands_in_a_file_of_its_part(part: str) -> None:
    # A package of a part whose name has a hyphen is its part, too.
    inside = "**/" if "-" in part else ""
    files = [file for end in ("py", "yaml") for file in (ROOT / part).glob(f"{inside}*.{end}")]
    sources = [without_layout(file.read_text(encoding="utf-8")) for file in files]
    quoted = [b for b in blocks(ROOT / part / "README.md") if b.language in {"py", "yaml"}]
    assert quoted
    for block in quoted:
        lines = "\n" + without_layout(block.text)
        assert any(lines in "\n" + source for source in sources), (
            f"{part}/README.md:{block.line} quotes what no file of {part} holds\n{block.text}"
        )


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("language", ["README.md", "README.ko.md"])
def test_a_lesson_has_the_sections_of_every_lesson(part: str, language: str) -> None:
    sections = [text for level, text in headings(ROOT / part / language) if level == 2]
    first, last = FIRST_SECTIONS[language], LAST_SECTIONS[language]
    assert sections[: len(first)] == first
    assert sections[-len(last) :] == last


@pytest.mark.parametrize("part", PARTS)
def test_a_lesson_names_every_setting_of_its_part(part: str) -> None:
    import importlib

    modules = SETTINGS.get(part, [f"{part}.settings"])
    lesson = (ROOT / part / "README.md").read_text(encoding="utf-8")
    for module in modules:
        fields = importlib.import_module(module).Settings.model_fields
        assert [name for name in fields if f"`{name.upper()}`" not in lesson] == []


def test_the_readme_prints_the_two_commands_that_do_everything() -> None:
    texts = [block.text for block in blocks(ROOT / "README.md")]
    assert "pip install uv && uv run course demo" in texts
    assert "pip install uv && uv run pytest" in texts


def test_what_the_readme_says_of_the_tests_is_what_ci_runs() -> None:
    assert "pip install uv && uv run pytest" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_comparison_sees_a_difference() -> None:
    printed = "01:02:03 wrote 1,000 rows (id 1 to 1000) in 0.02 s: 52,123 rows/s\nTrain : 0.98\n"
    assert agrees("12:00:00 wrote 1,000 rows (id 1 to 1000) in 0.05 s: 9 rows/s", printed)
    assert agrees("wrote ... rows\n...\nTrain : 0.98", printed)
    assert not agrees("12:00:00 wrote 999 rows (id 1 to 1000) in 0.05 s: 9 rows/s", printed)
    assert not agrees("Train : 0.98\nwrote 1,000 rows", printed)
