"""Which processes are ours: the one truth is the process table, so that no crash can hide one.

Every process that the course starts carries the path of its home in its environment, and its
children inherit it. A small run record says which of them is the service itself.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from course.files import write_atomically
from course.home import Home

OWNER = "COURSE_OWNER"  # holds the path of the home
SERVICE = "COURSE_SERVICE"  # holds the name of the service


@dataclass(frozen=True)
class RunRecord:
    """Which process runs a service, on which port, and what it was started with."""

    pid: int
    started: float
    port: int
    fingerprint: str = ""


def fingerprint(environment: Mapping[str, str]) -> str:
    """A hash of the settings that a service is started with; it tells a change, no password.

    Not of the command: it spells programs out, and those are not always found by the same path.
    """
    return hashlib.sha256(json.dumps(sorted(environment.items())).encode()).hexdigest()


def marks(home: Home, service: str) -> dict[str, str]:
    """The variables by which a process and its children are known as ours."""
    return {OWNER: str(home.path), SERVICE: service}


def child_environment(home: Home) -> dict[str, str]:
    """This process's environment, with a place for compiled modules.

    Where PYTHONDONTWRITEBYTECODE keeps them from lying beside their sources, they lie in the
    home: MLflow and scikit-learn from source take three times as long to import, at every step.
    """
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment.setdefault("PYTHONPYCACHEPREFIX", str(home.path / "bytecode"))
    return environment


def spawn(
    home: Home, service: str, command: list[str], environment: Mapping[str, str], port: int
) -> psutil.Process:
    """Start a service in a session of its own, its output in its log, and write its run record."""
    log = home.log(service)
    log.parent.mkdir(parents=True, exist_ok=True)
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    # The learner's own cloud account is none of these servers' business.
    inherited = {k: v for k, v in child_environment(home).items() if not k.startswith("AWS_")}
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **environment, **marks(home, service)},
            start_new_session=True,
            creationflags=flags,
        )
    process = psutil.Process(child.pid)
    # A service outlives the command that starts it, on purpose. To Python it is done, else Python
    # would warn of a child that was forgotten.
    child.returncode = 0
    record = RunRecord(process.pid, process.create_time(), port, fingerprint(environment))
    write_atomically(home.run_record(service), json.dumps(asdict(record)))
    return process


def running(home: Home, service: str) -> RunRecord | None:
    """The run record of a service whose process is alive."""
    try:
        record = RunRecord(**json.loads(home.run_record(service).read_text(encoding="utf-8")))
        process = psutil.Process(record.pid)
        # Another program may have the pid by now. The marks tell; the start time does where the
        # system hides them, and not alone: it shifts when the clock of the machine is set.
        same = (_owner(process) == home.path and _variable(process, SERVICE) == service) or abs(
            process.create_time() - record.started
        ) < 1.0
        return record if same and is_alive(process) else None
    except (FileNotFoundError, ValueError, TypeError, psutil.NoSuchProcess):
        return None


def owned(home: Home, also: Callable[[psutil.Process], bool] | None = None) -> list[psutil.Process]:
    """All living processes of this home, and those that `also` recognises."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        if _owner(process) == home.path or (also is not None and also(process)):
            found.append(process)
    return found


def of_service(
    home: Home, service: str, also: Callable[[psutil.Process], bool]
) -> list[psutil.Process]:
    """The living processes of one service, children and orphans included."""
    return [
        process
        for process in owned(home, also)
        if also(process) or _variable(process, SERVICE) == service
    ]


def end(processes: Iterable[psutil.Process], seconds: float = 5.0) -> None:
    """Terminate processes, and kill those that are still there after `seconds`."""
    alive = list(processes)
    for process in alive:
        _quietly(process.terminate)
    alive = wait(alive, seconds)
    for process in alive:
        _quietly(process.kill)
    wait(alive, seconds)


def wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until processes have ended, and return those that have not after `seconds`.

    A zombie has ended: some containers' init takes seconds to collect it, or never does.
    """
    deadline = time.monotonic() + seconds
    alive = [p for p in processes if is_alive(p)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [p for p in alive if is_alive(p)]
    return alive


def memory(processes: Iterable[psutil.Process]) -> int:
    """Resident bytes, shared pages counted once where the system tells (Linux: PSS)."""
    total = 0
    for process in processes:
        try:
            full = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(full, "pss", 0) or full.rss
    return total


def _owner(process: psutil.Process) -> Path | None:
    place = _variable(process, OWNER)
    return Path(place) if place else None


def _variable(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except (psutil.Error, OSError):  # somebody else's process, or gone by now
        return None


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _quietly(action: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        action()
