"""The services: a trainer that starts again, a generator that goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from part2.seed_database import top_up
from tests.conftest import ROOT, Database, clean_environment
from tests.part2.database_settings import settings_of

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


def wait_until(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


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
        wait_until(lambda: "has no table iris_data" in log.read_text(), log)
        top_up(settings_of(database), 100, seed=2022)
        wait_until(lambda: saved_rows(output) == 100, log)

        # The table goes; the model that is there stays, and the next one comes.
        with database.connect() as connection:
            connection.execute("ALTER TABLE iris_data RENAME TO away")
            wait_until(lambda: log.read_text().count("has no table iris_data") >= 2, log)
            assert saved_rows(output) == 100
            connection.execute("ALTER TABLE away RENAME TO iris_data")
        top_up(settings_of(database), 150, seed=2022)
        wait_until(lambda: saved_rows(output) == 150, log)
    finally:
        trainer.send_signal(signal.SIGTERM)

    assert trainer.wait(timeout=30) == 0
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
        wait_until(lambda before=before: len(ids()) > before, log)  # type: ignore[misc]
        generator.send_signal(stop)
        assert generator.wait(timeout=30) == status

    found = ids()
    assert found == list(range(1, len(found) + 1))
