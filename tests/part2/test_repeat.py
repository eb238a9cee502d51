"""The services: a trainer that starts again, a generator that goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from part2.seed_database import top_up
from tests.conftest import ROOT, Database, clean_environment
from tests.part2.database_settings import settings_of
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")


def start(module: str, *args: str, env: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *args],
            cwd=ROOT,
            env=clean_environment() | env,
            stdout=output,
            stderr=output,
        )


def saved_rows(output: Path) -> int:
    try:
        rows = json.loads((output / "metrics.json").read_bytes())["rows"]
    except FileNotFoundError:
        return 0
    return int(rows["train"] + rows["valid"])


def test_the_trainer_survives_a_table_that_goes_and_sees_new_rows(
    database: Database, tmp_path: Path
) -> None:
    log, output = tmp_path / "log", tmp_path / "model"
    args = ("--every", "1", "--rows", "500", "--output", str(output))
    trainer = start("part2.db_validate_save_model", *args, env=database.environ, log=log)
    try:
        wait_for(lambda: "has no table iris_data" in log.read_text(), log.read_text)
        top_up(settings_of(database), 100, seed=2022)
        wait_for(lambda: saved_rows(output) == 100, log.read_text)

        # The table goes; the model that is there stays, and the next one comes.
        with database.connect() as connection:
            connection.execute("ALTER TABLE iris_data RENAME TO away")
            wait_for(lambda: log.read_text().count("has no table iris_data") >= 2, log.read_text)
            assert saved_rows(output) == 100
            connection.execute("ALTER TABLE away RENAME TO iris_data")
        top_up(settings_of(database), 150, seed=2022)
        wait_for(lambda: saved_rows(output) == 150, log.read_text)
    finally:
        trainer.send_signal(signal.SIGTERM)

    assert trainer.wait(timeout=PATIENCE) == 0
    assert log.read_text().splitlines()[-1].endswith("stopped")
    assert "Traceback" not in log.read_text()


def test_the_generator_goes_on_where_the_table_ends(database: Database, tmp_path: Path) -> None:
    def ids() -> list[int]:
        with database.connect() as connection:
            if connection.execute("SELECT to_regclass('iris_data')").fetchone() == (None,):
                return []
            return [row for (row,) in connection.execute("SELECT id FROM iris_data ORDER BY id")]

    args = ("--rows", "10", "--rate", "10")
    for number, (stop, status) in enumerate([(signal.SIGKILL, -9), (signal.SIGTERM, 0)]):
        log = tmp_path / f"log{number}"
        before = len(ids())
        generator = start("part2.seed_database", *args, env=database.environ, log=log)
        wait_for(lambda before=before: len(ids()) > before, log.read_text)  # type: ignore[misc]
        generator.send_signal(stop)
        assert generator.wait(timeout=PATIENCE) == status

    found = ids()
    assert found == list(range(1, len(found) + 1))
