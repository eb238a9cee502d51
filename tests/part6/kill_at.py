"""Do a job again and again, killed at a later touch of the disk each time, until it gets through.

What `kill -9` leaves behind depends on the moment, so every moment (or every STRIDE-th) is tried.
The job runs in a fork of a process that has imported everything: a moment costs milliseconds.
"""

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.utime"}


def kill_at_every_touch(
    job: Callable[[], object], folder: Path, stride: int = 1, first: int = 1
) -> Iterator[int]:
    """Yield after each killed job, with `folder` as it was left then; it is put back afterwards."""
    before = folder.with_name(folder.name + "-before")
    shutil.copytree(folder, before)
    for moment in range(first, 10_000, stride):
        if _ends(job, folder, moment):
            return
        yield moment
        shutil.rmtree(folder)
        shutil.copytree(before, folder)


def _ends(job: Callable[[], object], folder: Path, moment: int) -> bool:
    """Whether the job came to its end before it had touched `folder` `moment` times."""
    child = os.fork()
    if child == 0:
        touched = 0

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal touched
            if event not in TOUCHES or not _is_in(folder, arguments):
                return
            if event == "open" and not _writes(arguments):
                return
            touched += 1
            if touched == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        failed = True
        try:
            job()
            failed = False
        finally:
            if failed:
                traceback.print_exc()
            os._exit(failed)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, -signal.SIGKILL}, code
    return code == 0


def _is_in(folder: Path, arguments: tuple[object, ...]) -> bool:
    # What shutil.rmtree removes has a name relative to an open folder; those count, too.
    names = [str(each) for each in arguments if isinstance(each, str | Path)]
    return any(name.startswith(str(folder)) or "/" not in name for name in names)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
