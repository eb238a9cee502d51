"""A module that tests/forked.py runs behaves as under `python -m`, and nothing of it is left."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from course import processes
from tests import forked
from tests.conftest import ROOT, SHARED_HOME, RunModule, clean_environment
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.skipif(not forked.POSSIBLE, reason="scripts are not forked here")

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Forking:
    """A process that forks, with a folder of modules of its own."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def environ(self) -> dict[str, str]:
        return clean_environment() | {"PYTHONPATH": str(ROOT)}

    def module(self, code: str) -> str:
        name = f"probe_{uuid.uuid4().hex}"
        (self.folder / f"{name}.py").write_text(code, encoding="utf-8")
        return name

    def run(self, code: str, *args: str, timeout: float = PATIENCE, **environ: str) -> Done:
        place = self.folder / "forking"
        return forked.run(place, self.module(code), args, self.environ | environ, timeout)

    def run_fresh(self, code: str, *args: str, **environ: str) -> Done:
        command = [sys.executable, "-m", self.module(code), *args]
        env = self.environ | environ
        return subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )

    def started(self) -> int:
        """The process that SLEEPS has started, as soon as it is there."""
        file = self.folder / "started"
        wait_for(lambda: file.exists() and file.read_text())
        return int(file.read_text())


def has_ended(pid: int) -> bool:
    """Whether a process ends soon."""
    try:
        return not processes.wait([psutil.Process(pid)], seconds=10)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def forking() -> Iterator[Forking]:
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path has some 100 characters
        place, environ = Path(folder), clean_environment() | {"PYTHONPATH": str(ROOT)}
        process = forked.start(place / "forking", place, environ)
        yield Forking(place, process)
        process.communicate()


def without_places(stderr: str) -> str:
    """The text with tracebacks from the module on: who called it differs, as does its name."""
    text = re.sub(r'(?s)  File "<frozen runpy>".*?(?=  File "/[^\n]*/probe_)', "", stderr)
    # Likewise where Python was when it found a file that nobody had closed.
    text = re.sub(r"(?m)^.*: (ResourceWarning: .*\n)(  gc\..*\n)?", r"\1", text)
    return re.sub(r"probe_\w{32}", "probe", text)


LOOKS = """
import logging, os, sys, warnings
print(sys.argv[1:], __name__, __spec__.name == sys.argv[0].split("/")[-1][:-3], os.getcwd())
print(os.path.dirname(sys.argv[0]), sys.path[0], sys.flags, sys.stdout.encoding)
print([f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(("MLFLOW", "COURSE"))])
print(repr(sys.stdin.read()), sys.stdin.isatty(), sys.stdout.isatty(), logging.root.handlers)
sys.stdout.reconfigure(errors="replace")
print("one\\r\\ntwo\\rthree", file=sys.stderr)
warnings.warn("this is old", DeprecationWarning)
open("/dev/null")
"""
RANDOM = """
import sys
print("numpy" in sys.modules)
import numpy, random
print(random.random(), numpy.random.rand())
"""
SLEEPS = "import subprocess; subprocess.run(['sh', '-c', 'echo $$ > started; sleep 60'])"
LATE = """
import atexit, os, sys, threading, time
atexit.register(lambda: os.write(1, b"at exit\\n"))
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
print("main")
class Cycle: pass
cycle = Cycle()
cycle.itself, cycle.file = cycle, open("/dev/null")
del cycle
"""


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (LOOKS, 0),
        (LATE, 0),
        ("raise SystemExit", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit(-1)", 255),
        ("import sys; print('out'); sys.exit('said by exit')", 1),
        ("print('before')\nraise ValueError('unforeseen')", 1),
        ("import sys\nsys.excepthook = lambda *_: print('hook', file=sys.stderr)\n1 / 0", 1),
        ("raise KeyboardInterrupt", -2),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("import os, signal; signal.raise_signal(signal.SIGINT)", -2),
        ("import no_such_module", 1),
    ],
)
def test_it_prints_and_ends_as_in_an_interpreter_of_its_own(
    forking: Forking, code: str, status: int
) -> None:
    args = ("--option", "an argument")
    fork = forking.run(code, *args, COURSE_OF="this test")
    fresh = forking.run_fresh(code, *args, COURSE_OF="this test")
    assert fork.returncode == fresh.returncode == status
    assert fork.stdout == fresh.stdout
    assert without_places(fork.stderr) == without_places(fresh.stderr)


def test_what_is_random_differs_from_run_to_run(
    forking: Forking, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = forking.module(RANDOM)
    monkeypatch.setitem(forked.LIBRARIES, module, ("numpy",))
    place = forking.folder / "forking"
    one, two = (forked.run(place, module, (), forking.environ, 60).stdout.split() for _ in "12")
    assert one[0] == two[0] == "True"  # imported before the fork, with a generator that has a state
    assert one[1] != two[1]
    assert one[2] != two[2]


def test_what_takes_too_long_is_killed_with_all_that_it_has_started(forking: Forking) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        forking.run(SLEEPS, timeout=2)
    assert has_ended(forking.started())


def test_a_module_ends_with_who_waits_for_it(forking: Forking) -> None:
    waits = f"""
from pathlib import Path
from course import processes
from tests import forked
forked.run(Path("forking"), "{forking.module(SLEEPS)}", (), {forking.environ}, 60)
"""
    command = [sys.executable, "-c", waits]
    with subprocess.Popen(command, cwd=forking.folder, env=forking.environ) as waiting:
        started = forking.started()
        waiting.kill()
    assert has_ended(started)


def test_who_is_killed_before_the_question_leaves_the_others_in_peace(forking: Forking) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(forking.folder / "forking"))
    assert forking.run("print('as ever')").stdout == "as ever\n"


def test_at_the_end_of_the_tests_nothing_is_left(forking: Forking) -> None:
    with ThreadPoolExecutor() as pool:
        running = pool.submit(forking.run, SLEEPS)
        started = forking.started()
        forking.process.communicate()
        with pytest.raises(RuntimeError, match="has ended"):
            running.result()
    assert has_ended(started)


@pytest.mark.parametrize(
    "script", ["course", "part1.freshness", "part2.db_train", "part3.promote_model"]
)
def test_the_libraries_say_nothing_and_leave_one_thread(run_module: RunModule, script: str) -> None:
    """Python warns of a fork in a process of several threads."""
    run_module(script, "--help", check=True)
    assert Path(os.environ[SHARED_HOME], "forking.log").read_text() == ""
