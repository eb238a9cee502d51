"""All places of the matrix, some at a time, and what becomes of them as a text for people."""

import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import psycopg
from serve.migrations.run import migrate

from tests.conftest import ROOT
from tests.part7.faults.cells import (
    MATRIX,
    PLACES,
    Cell,
    Client,
    Database,
    Engine,
    Model,
    Place,
    Server,
    why_left_out,
)
from tests.part7.faults.comparison import mismatches
from tests.part7.faults.databases import why_impossible
from tests.part7.faults.place import Observed, Tried, try_place

AT_ONCE = 7  # places; they wait for timeouts most of the time
MIGRATING = Lock()  # Alembic keeps what it works on for the whole process
FILE = ROOT / "artifacts" / "part7" / "fault_matrix.md"
HEAD = """# What happens when

What was seen when the test ran, not what was hoped for. A client that stays asks twice: the status
is that of a whole reply, then come the last events of a stream, then how the reply is kept. A
client that leaves has asked for its reply to go on (`continue`) or to end (`cancel`).
"""


@dataclass
class Matrix:
    """What was tried, and what this machine cannot do."""

    tried: list[Tried] = field(default_factory=list)
    skipped: dict[Place, str] = field(default_factory=dict)


def try_matrix(connect: Callable[[], psycopg.Connection]) -> Matrix:
    """Try every place; `connect` goes to a PostgreSQL server where databases may be created."""
    matrix = Matrix()
    for place in PLACES:
        reason = why_impossible(place.database) if place.engine is Engine.SQLITE else None
        if reason is not None:
            matrix.skipped[place] = reason
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        migrated = Path(folder, "migrated.db")
        migrate(f"sqlite:///{migrated}", 10)
        trying = [
            pool.submit(_try, place, Path(folder, str(number)), migrated, connect)
            for number, place in enumerate(PLACES)
            if place not in matrix.skipped
        ]
        matrix.tried = [each.result() for each in trying]
        # A machine that stands still for seconds is not what is tried: such a place gets a second
        # attempt, with nothing beside it. What is wrong will be wrong again.
        for number, tried in enumerate(matrix.tried):
            if mismatches(tried):
                beside = Path(folder, f"again-{number}")
                matrix.tried[number] = _try(tried.place, beside, migrated, connect)
    return matrix


def _try(
    place: Place, folder: Path, migrated: Path, connect: Callable[[], psycopg.Connection]
) -> Tried:
    folder.mkdir()
    made: list[str] = []

    def postgresql() -> str:
        made.append(f"faults_{uuid.uuid4().hex[:12]}")
        with connect() as connection:
            connection.execute(f"CREATE DATABASE {made[-1]}")
            info = connection.info
            url = (
                f"postgresql+psycopg://{info.user}:{info.password}@{info.host}:{info.port}"
                f"/{made[-1]}"
            )
        with MIGRATING:
            migrate(url, 10)
        return url

    try:
        return try_place(place, folder, migrated, postgresql)
    finally:
        for name in made:
            with connect() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def as_markdown(matrix: Matrix) -> str:
    """The tables."""
    parts = [HEAD, _summary(matrix)]
    for server, title in (
        (Server.RUNS, "The server runs, the database is well"),
        (Server.STOPS, "The server gets SIGTERM, the database is well"),
        (Server.DIES, "The server is killed with -9 and started again"),
    ):
        parts.append(f"## {title}\n")
        columns = {str(client): Place(Engine.SQLITE, server, Database.NORMAL) for client in Client}
        parts.append(_table(matrix, columns, list(Client)))
    for server in (Server.RUNS, Server.STOPS):
        parts.append(f"## A client that stays, a database in trouble, the server: {server}\n")
        columns = columns_in_trouble(server)
        parts.append(_table(matrix, columns, [Client.STAYS] * len(columns)))
    parts.append("## Left out\n")
    parts.append("\n".join(f"- {count} cells: {why}." for why, count in _reasons().items()))
    parts += [
        f"- Not possible on this machine, {place.engine}, {place.server}, {place.database}: {why}."
        for place, why in matrix.skipped.items()
    ]
    return "\n".join(parts) + "\n"


def _summary(matrix: Matrix) -> str:
    cells = {each.turn.cell for tried in matrix.tried for each in tried.observed}
    here = sum(cell in cells for cell in MATRIX)
    turns = sum(len(tried.observed) for tried in matrix.tried)
    on_postgresql = sum(tried.place.engine is Engine.POSTGRESQL for tried in matrix.tried)
    return (
        f"{len(MATRIX)} cells, of which {here} were tried on SQLite and "
        f"{sum(_reasons().values())} are left out for the reasons below; with the "
        f"{on_postgresql} servers on PostgreSQL {turns:,} turns.\n"
    )


def _reasons() -> dict[str, int]:
    reasons: dict[str, int] = {}
    for cell in MATRIX:
        if (why := why_left_out(cell)) is not None:
            reasons[why] = reasons.get(why, 0) + 1
    return reasons


def columns_in_trouble(server: Server) -> dict[str, Place]:
    """The places where the database is in trouble, by what a table calls them."""
    return {
        f"{place.engine}, {place.database}": place
        for place in PLACES
        if place.server is server and place.database is not Database.NORMAL
    }


def by_cell(matrix: Matrix, place: Place, model: Model, client: Client) -> list[Observed]:
    """What was seen at one cell of a place."""
    cell = Cell(model, client, place.server, place.database)
    at_place = (tried for tried in matrix.tried if tried.place == place)
    return [each for tried in at_place for each in tried.observed if each.turn.cell == cell]


def _table(matrix: Matrix, columns: dict[str, Place], clients: Sequence[Client]) -> str:
    rows = [f"| model | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for model in Model:
        cells = [
            _said(by_cell(matrix, place, model, client))
            for place, client in zip(columns.values(), clients, strict=True)
        ]
        rows.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _said(cell: list[Observed]) -> str:
    if not cell:
        return "-"
    if cell[0].turn.leaves:
        ends: dict[str, list[str]] = {}
        for each in cell:
            ends.setdefault(each.turn.policy, []).append(_kept(each))
        return "; ".join(
            f"{policy}: {' or '.join(dict.fromkeys(kept))}" for policy, kept in ends.items()
        )
    return "; ".join(dict.fromkeys([*(_told(each) for each in cell), _kept(cell[-1])]))


def _told(observed: Observed) -> str:
    seen = observed.seen
    if not observed.turn.stream:
        return str(seen.http) if seen.http else "cut off"
    names = (
        f"error {seen.problem.status}" if name == "error" and seen.problem else name
        for name in seen.last_events
    )
    return ", ".join(names) or "cut off"


def _kept(observed: Observed) -> str:
    reply = observed.reply
    kind = f" ({reply['error']['kind']})" if reply["error"] else ""
    tokens = len(reply["content"].split())
    return (
        f"**{reply['status']}**{kind}, {tokens} tokens"
        if tokens
        else f"**{reply['status']}**{kind}"
    )


def write(matrix: Matrix) -> Iterator[str]:
    """Keep the tables for the lesson, and give them line by line."""
    text = as_markdown(matrix)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text, encoding="utf-8")
    yield from text.splitlines()
