"""How long a test waits for what must come."""

import time
from collections.abc import Callable

# In seconds. Only a broken program needs them all: machines are shared, and one was seen to be
# seven times slower than a laptop.
PATIENCE = 300.0


def wait_for(
    what: Callable[[], object],
    state: Callable[[], object] = lambda: "",
    *,
    seconds: float = PATIENCE,
) -> None:
    """Wait until `what` is true; when it is not in time, fail with what `state` says."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds:g} s\n{state()}"
        time.sleep(pause)
        pause = min(1.2 * pause, 0.25)  # what takes long need not be asked often
