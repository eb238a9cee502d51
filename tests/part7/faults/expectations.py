"""The rules: what must come of a turn. Nothing here was copied from what a server did.

The order in which things happen, in every place (place.py sees to it):

1.  Turns whose model is refused fail, before anything else.
2.  All others are asked. Clients that leave before the first token leave.
3.  Models that answer with tokens send `HELD` of them and stop; those are saved.
4.  The database's trouble begins, then the server is stopped or killed.
5.  Clients that leave after the first token leave (before a `kill -9`, else there is no server).
6.  The models go on. When every client has its end, the trouble ends.
7.  A server that is gone is started again.

A cell's outcome follows from who ends the reply first, and whether the database takes that end.
"""

from dataclasses import dataclass, field

from serve.models import Status

from tests.fake_llm.app import WORDS
from tests.fake_llm.script import Script
from tests.part7.faults.cells import Client, Database, Model, Server, Turn

HELD = 4  # tokens that have come when trouble begins
SENT = 8  # tokens that have been sent when an answer is cut or malformed
TOKENS = 16  # of a whole answer
RETRIES = 1

# What each model server does; "first" and "rest" are gates, opened in steps 3 and 6.
SCRIPTS = {
    Model.SLOW: Script(hang_after=0),
    Model.CUT: Script(cut_after=SENT, gates={0: "first", HELD: "rest"}),
    Model.BUSY: Script(status=429, retry_after=1, gates={0: "rest"}),
    Model.BROKEN: Script(status=500, gates={0: "rest"}),
    # It stays after that, so whoever gives up must be the one who closes.
    Model.MALFORMED: Script(
        malformed_after=SENT, hang_after=SENT, gates={0: "first", HELD: "rest"}
    ),
    Model.UNCOUNTED: Script(usage=False, tokens=TOKENS, gates={0: "first", HELD: "rest"}),
    Model.HANGS: Script(hang_after=HELD, gates={0: "first", HELD: "rest"}),
}


@dataclass(frozen=True)
class Problem:
    """An error as a client sees it."""

    status: int
    kind: str = "server"


@dataclass(frozen=True)
class End:
    """How a reply ends, and what a client that waits is told."""

    status: Status
    problem: Problem | None = None
    least: int = 0  # tokens of its text
    most: int = 0
    model_side: str = "closed by the client"


# Who is left alone with the model gets this. The pieces before a break are kept as far as they were
# read before it was noticed.
BY_MODEL = {
    Model.REFUSED: End(Status.FAILED, Problem(503, "away"), model_side="never asked"),
    Model.SLOW: End(Status.FAILED, Problem(504, "slow")),
    Model.CUT: End(Status.FAILED, Problem(502, "cut"), HELD, SENT, "cut"),
    Model.BUSY: End(Status.FAILED, Problem(503, "busy"), model_side="refused"),
    Model.BROKEN: End(Status.FAILED, Problem(502, "bad_answer"), model_side="refused"),
    Model.MALFORMED: End(Status.FAILED, Problem(502, "bad_answer"), HELD, SENT),
    Model.UNCOUNTED: End(Status.COMPLETE, None, TOKENS, TOKENS, "finished"),
    Model.HANGS: End(Status.FAILED, Problem(504, "slow"), HELD, HELD),
}
# Step 4 finds them with this much text.
SO_FAR = {model: min(end.most, HELD) for model, end in BY_MODEL.items()}
TROUBLE = {
    Database.LOCKED: Problem(503),
    Database.READ_ONLY: Problem(503),
    Database.FULL: Problem(507),
    Database.AWAY: Problem(503),
}


@dataclass(frozen=True)
class Expected:
    """What must be seen of a turn."""

    # The client: the status of a whole reply; of a stream the last events. None: it has left.
    http: int | None
    events: tuple[str, ...] | None
    problem: Problem | None  # in the problem document, or in the event `error`
    # The row of the reply; more than one state where two ends race.
    ends: list[End] = field(default_factory=list)
    by_next_start: bool = False  # the server that is started again ends it
    # The model server: how often it was asked, and what became of the last request.
    asked: int = 1


def expected(turn: Turn) -> Expected:
    """The outcome of a turn."""
    cell = turn.cell
    end = _end(turn)
    trouble = TROUBLE.get(cell.database)
    if _ended_before_trouble(turn):
        trouble = None
    # A server that runs writes the end as soon as the database takes it; one that stops cannot
    # wait for that.
    lost = trouble is not None and cell.server is Server.STOPS
    dead = cell.server is Server.DIES and not _ended_before_trouble(turn)
    kept = end
    if lost or dead:
        kept = End(
            Status.INTERRUPTED,
            Problem(503),
            SO_FAR[cell.model],
            SO_FAR[cell.model],
            end.model_side,
        )
    ends = [kept]
    if _may_fail_before_it_is_cancelled(turn):
        ends.append(BY_MODEL[cell.model])
    asked = _asked(turn, end)
    if turn.leaves:
        return Expected(None, None, None, ends, lost or dead, asked)
    if dead:
        return Expected(0, (), None, ends, True, asked)  # the connection breaks
    if trouble is not None:
        return Expected(trouble.status, ("error",), trouble, ends, lost, asked)
    if end.problem is None:
        return Expected(201, ("done",), None, ends, False, asked)
    return Expected(end.problem.status, ("error", "done"), end.problem, ends, False, asked)


def text_of_tokens(count: int) -> str:
    """What the fake model server says with so many tokens."""
    return "".join(WORDS[i % len(WORDS)] for i in range(count))


def _end(turn: Turn) -> End:
    """Who ends the reply first."""
    cell = turn.cell
    if turn.policy == "cancel":
        so_far = SO_FAR[cell.model] if cell.client is Client.LEAVES_AFTER else 0
        side = "never asked" if cell.model is Model.REFUSED else "closed by the client"
        return End(Status.STOPPED, None, so_far, so_far, side)
    if cell.model is Model.REFUSED:  # before anything happens to the server
        return BY_MODEL[cell.model]
    so_far = SO_FAR[cell.model]
    interrupted = End(Status.INTERRUPTED, Problem(503), so_far, so_far)
    if cell.server is Server.DIES:
        return interrupted
    # The grace period is shorter than the time for which a model may say nothing.
    if cell.server is Server.STOPS and cell.model in {Model.SLOW, Model.HANGS}:
        return interrupted
    return BY_MODEL[cell.model]


def _ended_before_trouble(turn: Turn) -> bool:
    cell = turn.cell
    if cell.model is Model.REFUSED:
        return True
    if turn.policy != "cancel":
        return False
    return cell.client is Client.LEAVES_BEFORE or cell.server is Server.DIES


def _may_fail_before_it_is_cancelled(turn: Turn) -> bool:
    """A refused connection takes milliseconds, and nothing can hold it up."""
    return turn.cell.model is Model.REFUSED and turn.policy == "cancel"


def _asked(turn: Turn, end: End) -> int:
    """Before the first token a model that says that it cannot is asked again."""
    if turn.cell.model is Model.REFUSED:
        return 0
    by_model = end is BY_MODEL[turn.cell.model]
    return 1 + RETRIES if by_model and turn.cell.model in {Model.BUSY, Model.BROKEN} else 1
