"""Which core does what: the server one, the load that asks it another."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def two_cores() -> tuple[int | None, int | None]:
    """The core of the server and the core of the load; None where a process cannot be bound."""
    if sys.platform != "linux":
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """What is started inside the block stays on `core`, with its children."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
