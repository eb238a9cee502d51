"""A circuit breaker: a model server that fails again and again is left alone for a while."""

import time

from serve.core import metrics


class Breaker:
    """Closed lets all calls through; open none; after a while one, which decides."""

    def __init__(self, endpoint: str, failures: int, seconds: float) -> None:
        self._failures = failures
        self._seconds = seconds
        self._failed = 0
        self._open_until = 0.0
        self._trying = False
        self._gauge = metrics.BREAKER_OPEN.labels(endpoint)
        self._gauge.set(0)

    @property
    def is_open(self) -> bool:
        """Whether calls are refused now."""
        if self._failed < self._failures:
            return False
        return self._trying or time.monotonic() < self._open_until

    def admit(self) -> bool:
        """Whether a call may be made; each one that was admitted reports how it went."""
        if self.is_open:
            return False
        self._trying = self._failed >= self._failures
        return True

    def succeeded(self) -> None:
        """The server answers."""
        self._failed, self._trying = 0, False
        self._gauge.set(0)

    def failed(self) -> None:
        """It did not, and that was its own fault."""
        self._failed, self._trying = self._failed + 1, False
        if self._failed >= self._failures:
            self._open_until = time.monotonic() + self._seconds
            self._gauge.set(1)

    def gave_up(self) -> None:
        """The call ended before anybody could tell."""
        self._trying = False
