"""What can happen to a turn, on four sides at once, and which of it is left out and why."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Literal

type Policy = Literal["continue", "cancel"]


class Model(StrEnum):
    """What the model server does."""

    REFUSED = "refused"
    SLOW = "slow first token"
    CUT = "cut mid-stream"
    BUSY = "429"
    BROKEN = "500"
    MALFORMED = "malformed chunk"
    UNCOUNTED = "no usage"
    HANGS = "hang"


class Client(StrEnum):
    """What the client does."""

    STAYS = "stays"
    LEAVES_BEFORE = "leaves before the first token"
    LEAVES_AFTER = "leaves after it"
    READS_SLOWLY = "reads slowly"


class Server(StrEnum):
    """What happens to the chat server while replies run."""

    RUNS = "runs"
    STOPS = "SIGTERM"
    DIES = "kill -9"


class Database(StrEnum):
    """What happens to the database while replies run; databases.py does it."""

    NORMAL = "normal"
    LOCKED = "locked"
    READ_ONLY = "read-only"
    FULL = "full"
    AWAY = "away"  # a database that is a file cannot be


class Engine(StrEnum):
    """Which database."""

    SQLITE = "SQLite"
    POSTGRESQL = "PostgreSQL"


NO_TOKEN = {Model.REFUSED, Model.SLOW, Model.BUSY, Model.BROKEN}


@dataclass(frozen=True)
class Place:
    """One server on one database, on which all models and clients meet."""

    engine: Engine
    server: Server
    database: Database


@dataclass(frozen=True)
class Cell:
    """One place of the matrix."""

    model: Model
    client: Client
    server: Server
    database: Database


@dataclass(frozen=True)
class Turn:
    """One request of a cell."""

    cell: Cell
    stream: bool
    policy: Policy = "continue"  # of a client that leaves

    @property
    def name(self) -> str:
        """What the user says, so that every side can tell whose turn it is."""
        form = "stream" if self.stream else "whole"
        return f"{self.cell.model} / {self.cell.client} / {form} / {self.policy}"

    @property
    def is_refused(self) -> bool:
        """Whether no model server is there for it."""
        return self.cell.model is Model.REFUSED

    @property
    def leaves(self) -> bool:
        """Whether its client does not wait for the end."""
        return self.cell.client in {Client.LEAVES_BEFORE, Client.LEAVES_AFTER}


MATRIX = [
    Cell(*sides)
    for sides in product(Model, Client, Server, [each for each in Database if each != "away"])
]

# On PostgreSQL what differs; test_sigterm.py and test_crash.py stop and kill servers on it too.
PLACES = [
    *(Place(Engine.SQLITE, Server.RUNS, each) for each in Database if each is not Database.AWAY),
    *(Place(Engine.SQLITE, Server.STOPS, each) for each in Database if each is not Database.AWAY),
    Place(Engine.SQLITE, Server.DIES, Database.NORMAL),
    Place(Engine.POSTGRESQL, Server.RUNS, Database.NORMAL),
    Place(Engine.POSTGRESQL, Server.RUNS, Database.READ_ONLY),
    Place(Engine.POSTGRESQL, Server.RUNS, Database.AWAY),
]


def why_left_out(cell: Cell) -> str | None:
    """Why there is nothing to see in a cell; None if there is."""
    if cell.server is Server.DIES and cell.database is not Database.NORMAL:
        return (
            "a server that was killed writes nothing more, so it does not ask what the database "
            "would have said"
        )
    if cell.client is Client.LEAVES_AFTER and cell.model in NO_TOKEN:
        return "no first token comes after which to leave"
    if cell.model is Model.REFUSED and cell.database is not Database.NORMAL:
        return (
            "the reply has failed before the trouble begins; a turn that begins in the trouble is "
            "refused before any model is asked"
        )
    return None


def turns_of(cell: Cell) -> list[Turn]:
    """The requests that a cell is tried with."""
    match cell.client:
        case Client.STAYS:
            return [Turn(cell, stream=False), Turn(cell, stream=True)]
        case Client.LEAVES_BEFORE:
            policies: tuple[Policy, Policy] = ("continue", "cancel")
            return [Turn(cell, stream, policy) for stream in (False, True) for policy in policies]
        case Client.LEAVES_AFTER:
            return [Turn(cell, True, "continue"), Turn(cell, True, "cancel")]
        case Client.READS_SLOWLY:
            return [Turn(cell, stream=True)]


def turns_at(place: Place) -> list[Turn]:
    """All requests of a place."""
    cells = [Cell(*sides, place.server, place.database) for sides in product(Model, Client)]
    return [turn for cell in cells if why_left_out(cell) is None for turn in turns_of(cell)]
