"""The fault matrix: every cell is tried or says why not, and ends as the rules say."""

import pytest

from tests.conftest import ROOT
from tests.conftest import Server as PostgresServer
from tests.part7.faults.cells import MATRIX, PLACES, Engine, Place, turns_at, why_left_out
from tests.part7.faults.comparison import mismatches
from tests.part7.faults.lesson import differences
from tests.part7.faults.matrix import FILE, try_matrix, write


def test_every_cell_is_tried_or_says_why_not() -> None:
    assert len(MATRIX) == 8 * 4 * 3 * 4
    at_places = {
        turn.cell for place in PLACES if place.engine is Engine.SQLITE for turn in turns_at(place)
    }
    for cell in MATRIX:
        assert (cell in at_places) != (why_left_out(cell) is not None), cell


@pytest.mark.slow
def test_every_cell_ends_as_the_rules_say(postgres: PostgresServer) -> None:
    matrix = try_matrix(postgres.connect)

    lines = list(write(matrix))

    wrong = [each for tried in matrix.tried for each in mismatches(tried)]
    assert not wrong, "\n".join(wrong)
    seen: list[Place] = [tried.place for tried in matrix.tried]
    assert sorted([*seen, *matrix.skipped], key=str) == sorted(PLACES, key=str)
    assert all(len(tried.observed) == len(turns_at(tried.place)) for tried in matrix.tried)
    assert FILE.read_text(encoding="utf-8").splitlines() == lines
    if not matrix.skipped:
        for lesson in ("README.md", "README.ko.md"):
            printed = (ROOT / "part7-llm-serving" / lesson).read_text(encoding="utf-8").splitlines()
            assert differences(matrix, printed) == [], lesson
