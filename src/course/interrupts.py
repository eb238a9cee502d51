"""Ctrl-C, SIGTERM and SIGHUP at moments when they would do harm."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDINGS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not break off the stopping that the first one began."""
    with _handled(lambda number, frame: None):  # noqa: ARG005
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """Hold a Ctrl-C back until the end of the block, and raise it there.

    Raised inside `Popen`, it would leave a process that nobody knows of.
    """
    came: list[int] = []
    with _handled(lambda number, _: came.append(number)):
        yield
    if came:
        raise KeyboardInterrupt


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Give the signals to `handler`; those that are ignored on purpose stay ignored.

    A child that is started meanwhile has the system's handling: only SIG_IGN is inherited.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [n for n in _ENDINGS if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in ours}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
