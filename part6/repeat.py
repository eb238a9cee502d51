"""Run a job again and again until somebody asks to stop."""

import logging
import signal
import threading
from collections.abc import Callable

from part6.command import WorkFailedError

log = logging.getLogger(__name__)


def repeat(job: Callable[[], None], every: float) -> None:
    """Run `job` now and then `every` seconds after each end, until SIGINT or SIGTERM.

    A job that fails is reported and tried again: a database that restarts must not end a service
    that will be fine a minute later. A job that runs when the signal comes is finished first.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    while not stopped.is_set():
        try:
            job()
        except WorkFailedError as exc:
            log.error("%s (next try in %g s)", exc, every)
        stopped.wait(every)
    log.info("stopped")
