"""Run `python -m MODULE` many times for the price of one start of Python and its libraries.

MLflow takes two seconds of a core to import, scikit-learn one, and the tests run a script of a part
some two hundred times. So on Linux one process for all workers imports the libraries below, and
nothing of ours. For each run it forks: the child gets an environment, arguments and streams of its
own, runs the module as `python -m` does, and ends as Python ends.

What belongs to the start of an interpreter is not the same: how long it takes, the seed of string
hashes, and what a library reads from the environment or says while it is imported. Where a test is
about that, it has `run_module` start a fresh one.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

POSSIBLE = sys.platform == "linux"  # elsewhere a fork lacks pidfds, or the system's own libraries

_EDGE = ("pydantic_settings", "sqlalchemy", "psycopg2.extras", "stamina", "typer.rich_utils")
_DATA = ("pandas", "sklearn.datasets", "rich.progress")
_DRAW = ("matplotlib.figure", "matplotlib.backends.backend_agg")
_MODEL = ("sklearn.metrics", "sklearn.model_selection", "sklearn.pipeline", "sklearn.svm")
_REGISTRY = ("boto3", "mlflow.sklearn", "skops.io")
_SERVING = ("filelock", "httpx2", "onnxruntime", "prometheus_client", "scipy.stats", "skl2onnx")
# What the scripts of a package import sooner or later, loaded when the first of them is run.
LIBRARIES = {
    "course": (*_EDGE, "rich.progress", "botocore.session", "filelock", "psutil", "psycopg"),
    "part1": (*_EDGE, *_DATA, *_DRAW, "psycopg"),
    "part2": (*_EDGE, *_DATA, *_DRAW, *_MODEL),
    "part3": (*_EDGE, *_DATA, *_DRAW, *_MODEL, *_REGISTRY),
    "part6": (*_EDGE, *_DATA, *_DRAW, *_MODEL, *_REGISTRY, *_SERVING),
}
_ENVIRONMENT = {
    # Read while MLflow is imported; part3.registry sets the same before it imports MLflow.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "ORT_DISABLE_TELEMETRY": "1",  # part6.onnx_model sets it before it imports ONNX Runtime
    # A thread of pandas' allocator: only a process of one thread forks safely.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_LIFELINE = 0  # stdin: at its end the tests are over, or were killed


def start(place: Path, root: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the process that forks; it listens at `place` until its stdin is closed.

    What it has to say itself, such as a warning while it imports, it writes to `place`.log.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(place))
        listener.listen()
        return subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(listener.fileno()), str(_log(place))],
            cwd=root,
            env=environ | _ENVIRONMENT,
            # Pipes, as the scripts get: Python's streams remember whether they can seek.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a Ctrl-C that is meant for the tests does not reach it
        )


def _log(place: Path) -> Path:
    return place.with_suffix(".log")


def run(
    place: Path, module: str, args: tuple[str, ...], environ: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Do what `subprocess.run` does with `python -m MODULE ARGS`."""
    command = [sys.executable, "-m", module, *args]
    deadline = time.monotonic() + timeout
    with ExitStack() as stack:
        status = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        status.connect(str(place))
        pipes = [os.pipe(), os.pipe()]
        libraries = LIBRARIES.get(module.partition(".")[0], ())
        request = json.dumps([libraries, module, args, environ]).encode()
        socket.send_fds(status, [request], [writer for _, writer in pipes])
        waiting = stack.enter_context(selectors.DefaultSelector())
        read = {status.fileno(): b""}
        for reader, writer in pipes:
            os.close(writer)
            stack.callback(os.close, reader)
            read[reader] = b""
        for fd in read:
            waiting.register(fd, selectors.EVENT_READ)
        # To the end of all three: a process that the script has left behind holds the streams.
        while waiting.get_map():
            if not (ready := waiting.select(max(0.0, deadline - time.monotonic()))):
                status.shutdown(socket.SHUT_WR)  # the child is killed, and what it has started
                raise subprocess.TimeoutExpired(command, timeout)
            for key, _ in ready:
                read[key.fd] += (more := os.read(key.fd, 65536))
                if not more:
                    waiting.unregister(key.fd)
        code, *texts = (data.decode() for data in read.values())
    if not code:
        raise RuntimeError(f"the process that forks has ended: see {_log(place)}")
    stdout, stderr = (text.replace("\r\n", "\n").replace("\r", "\n") for text in texts)
    return subprocess.CompletedProcess(command, int(code), stdout, stderr)


def _become(module: str, args: list[str], environ: dict[str, str], streams: list[int]) -> None:
    """In the child: take on what belongs to the run."""
    os.setpgid(0, 0)
    for number, stream in enumerate([os.open(os.devnull, os.O_RDONLY), *streams]):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = [module, *args]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # as Python does by itself with its own generator


def _serve(listener: socket.socket) -> str:
    """Fork for each request; in the child, return the module that it is to run."""
    running: dict[int, tuple[int, socket.socket]] = {}  # pid: its pidfd, where its status goes
    waiting = selectors.DefaultSelector()
    waiting.register(_LIFELINE, selectors.EVENT_READ)
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fd == _LIFELINE:
                for pid in running:
                    _kill(pid)
                raise SystemExit
            if key.fd == listener.fileno():
                status, _ = listener.accept()
                request, streams, _, _ = socket.recv_fds(status, 1 << 20, 2)
                if not request:  # who wanted to ask was killed
                    status.close()
                    continue
                libraries, module, args, environ = json.loads(request)
                for library in libraries:
                    importlib.import_module(library)
                gc.freeze()  # else the first collection of each child copies all memory
                if (pid := os.fork()) == 0:
                    for pidfd, other in running.values():
                        os.close(pidfd)
                        other.close()
                    for ours in (listener, waiting, status):
                        ours.close()
                    _become(module, args, environ, streams)
                    return str(module)
                for stream in streams:
                    os.close(stream)
                running[pid] = os.pidfd_open(pid), status
                for each in running[pid]:
                    waiting.register(each, selectors.EVENT_READ, pid)
            elif key.data in running:
                pidfd, status = running[key.data]
                if key.fd == status.fileno():  # who asked does not wait any more
                    _kill(key.data)
                    continue
                code = os.waitstatus_to_exitcode(os.waitpid(key.data, 0)[1])
                del running[key.data]
                for each in (pidfd, status):
                    waiting.unregister(each)
                os.close(pidfd)
                with status, suppress(OSError):
                    status.send(str(code).encode())


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _leave() -> None:
    """End a child that has come to its end, without taking the libraries' memory apart first.

    That takes longer than most scripts. Of a file that the script forgot Python still complains.
    """
    if _exit_status is not None:
        gc.collect()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(_exit_status)


_exit_status: int | None = None  # of a child that has ended by itself, not by an exception

if __name__ == "__main__":
    atexit.register(_leave)  # before the libraries register theirs, so that it is called last
    with Path(sys.argv[2]).open("wb") as log:
        os.dup2(log.fileno(), 2)
    script = _serve(socket.socket(fileno=int(sys.argv[1])))
    # Here and not in _serve, so that an exception or an interrupt ends the child as it ends Python.
    try:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
        _exit_status = 0
    except SystemExit as exc:
        # A text is printed, and the status is 1.
        _exit_status = exc.code & 0xFF if isinstance(exc.code, int) else int(exc.code is not None)
        raise
