"""What can go wrong in words of the domain, and which HTTP answer each becomes."""

from typing import ClassVar


class ChatError(Exception):
    """A request that cannot be done; the message is for the person who sent it."""

    status: ClassVar[int] = 500
    retry_after: ClassVar[int | None] = None


class NotFoundError(ChatError):
    """There is no such thing."""

    status = 404


class ConflictError(ChatError):
    """Not as things stand now."""

    status = 409


class UnusableError(ChatError):
    """Understood, but it makes no sense."""

    status = 422


class BusyError(ChatError):
    """Too many replies are running and waiting."""

    status = 503
    retry_after = 2


class DatabaseAwayError(ChatError):
    """The database does not take it now; what was asked for is not done."""

    status = 503
    retry_after = 2


class DatabaseFullError(DatabaseAwayError):
    """There is no room on the disk."""

    status = 507
    retry_after = 60


class ModelError(ChatError):
    """The model server did not give a whole answer; `kind` names how, for metrics and clients."""

    status = 502
    kind: ClassVar[str] = "bad_answer"

    def __init__(self, text: str, wait_seconds: float | None = None) -> None:
        super().__init__(text)
        self.wait_seconds = wait_seconds  # how long it asks to be left alone, if it does


class ModelAwayError(ModelError):
    """No model server answers: refused, or the breaker is open."""

    status = 503
    retry_after = 5
    kind = "away"


class ModelBusyError(ModelError):
    """The model server says that it has too much to do."""

    status = 503
    retry_after = 5
    kind = "busy"


class ModelSlowError(ModelError):
    """Nothing came for too long."""

    status = 504
    kind = "slow"


class ModelRefusedError(ModelError):
    """The model server will not answer this request, however often it is asked."""

    kind = "refused"


class ModelCutError(ModelError):
    """The answer broke off."""

    kind = "cut"


class ServerStoppingError(ChatError):
    """This server is going away; another one, or the next, will answer."""

    status = 503
    retry_after = 2
