"""The matrix as the lesson prints it: how each reply is answered and kept, without the details."""

from collections.abc import Sequence
from itertools import zip_longest

from tests.part7.faults.cells import Client, Database, Engine, Model, Place, Server
from tests.part7.faults.matrix import Matrix, by_cell, columns_in_trouble
from tests.part7.faults.place import Observed


def in_short(matrix: Matrix) -> list[list[str]]:
    """The lesson's tables, as lines: one for each fate of the server, one for the database."""
    tables = []
    for server in Server:
        place = Place(Engine.SQLITE, server, Database.NORMAL)
        columns = {str(client): place for client in Client}
        tables.append(_table(matrix, f"server: {server}", columns))
    troubles = columns_in_trouble(Server.RUNS)
    tables.append(_table(matrix, "database", troubles, [Client.STAYS] * len(troubles)))
    return tables


def differences(matrix: Matrix, lesson: list[str]) -> list[str]:
    """Lines that were seen and are not what the lesson prints.

    Where two things happen at once the lesson prints both (`failed or stopped`); one was seen.
    """
    wrong = []
    for table in in_short(matrix):
        begin = lesson.index(table[0]) if table[0] in lesson else len(lesson)
        printed = lesson[begin : begin + len(table)]
        wrong += [
            seen
            for seen, said in zip_longest(table, printed, fillvalue="")
            if not _fits(_alternatives(seen), _alternatives(said))
        ]
    return wrong


def _alternatives(line: str) -> list[set[str]]:
    return [set(each.split(" or ")) for cell in line.split(" | ") for each in cell.split(" / ")]


def _fits(seen: list[set[str]], said: list[set[str]]) -> bool:
    return len(seen) == len(said) and all(map(set.issubset, seen, said))


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
