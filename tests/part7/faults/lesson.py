"""The matrix as the lesson prints it: how each reply is answered and kept, without the details."""

from collections.abc import Sequence

from tests.part7.faults.cells import Client, Database, Engine, Model, Place, Server
from tests.part7.faults.matrix import Matrix, by_cell, columns_in_trouble
from tests.part7.faults.place import Observed


def in_short(matrix: Matrix) -> list[str]:
    """The lines of the lesson's tables: one for each fate of the server, one for the database."""
    lines: list[str] = []
    for server in Server:
        place = Place(Engine.SQLITE, server, Database.NORMAL)
        lines += _table(matrix, f"server: {server}", {str(client): place for client in Client})
    return lines + _table(
        matrix,
        "database",
        columns_in_trouble(Server.RUNS),
        [Client.STAYS] * len(columns_in_trouble(Server.RUNS)),
    )


def _table(
    matrix: Matrix,
    corner: str,
    columns: dict[str, Place],
    clients: Sequence[Client] = tuple(Client),
) -> list[str]:
    lines = [f"| {corner} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for model in Model:
        cells = [
            _said(by_cell(matrix, place, model, client))
            for place, client in zip(columns.values(), clients, strict=True)
        ]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return lines


def _said(cell: list[Observed]) -> str:
    """`503 failed`: the status of a whole reply, or `cut off`, and how the reply is kept.

    `failed / stopped`: of a client that leaves, if the reply is to go on, and if it is to end.
    """
    if not cell:
        return "-"
    if cell[0].turn.leaves:
        kept = {
            policy: " or ".join(
                sorted({_kept(each) for each in cell if each.turn.policy == policy})
            )
            for policy in ("continue", "cancel")
        }
        return " / ".join(kept.values())
    told = {
        str(each.seen.http) if each.seen.http else "cut off"
        for each in cell
        if not each.turn.stream
    }
    return " ".join([*sorted(told), *sorted({_kept(each) for each in cell})])


def _kept(observed: Observed) -> str:
    return str(observed.reply["status"])
