"""Every prediction is written once, whatever the database does, and no request waits for it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from part6 import recorder
from part6.iris import FEATURES
from part6.prediction_table import PredictionTable, pack, pack_one
from part6.recorder import Recorder
from part6.settings import Settings
from tests.conftest import Database, StartProxy
from tests.faults import OwnPostgres, Relay
from tests.part6.conftest import (
    FLOWER,
    NOBODY,
    OpenClient,
    StartApi,
    flower,
    flowers,
)
from tests.waiting import wait_for

Rows = list[tuple[object, ...]]


def settings(environ: dict[str, str], **changed: object) -> Settings:
    """The settings that point at this database."""
    found = {name.lower(): value for name, value in environ.items()}
    return Settings(**{"_env_file": None} | found | changed)  # type: ignore[arg-type]


def table(database: Database | OwnPostgres) -> Rows:
    """What was recorded: the measurements, the class and the version, in the order of entry."""
    with database.connect() as connection:
        found = connection.execute(
            f"SELECT {', '.join(FEATURES)}, iris_class, model_version FROM iris_prediction"
            " ORDER BY id"
        )
        return found.fetchall()


def entry(number: int, rows: int = 1) -> bytes:
    """An answer that can be told from others by its first measurement."""
    values = np.array([(float(number), 1.0, 1.0, 1.0)] * rows)
    return pack(time.time(), values, np.zeros(rows, np.int64), 1, 0.5)


def numbers(rows: Rows) -> list[object]:
    return [row[0] for row in rows]


@contextmanager
def recording(to: Settings, max_rows: int = 1000) -> Iterator[Recorder]:
    """A recorder that is closed at the end."""
    made = Recorder(PredictionTable(to), max_rows)
    made.start()
    try:
        yield made
    finally:
        made.close()


def count(read: Callable[[], float]) -> Callable[[], float]:
    """A function that says by how much a counter has grown since."""
    before = read()
    return lambda: read() - before


def dropped() -> float:
    return REGISTRY.get_sample_value("iris_predictions_dropped_total") or 0


def failed() -> float:
    return REGISTRY.get_sample_value("iris_record_failures_total") or 0


def recorded() -> float:
    return REGISTRY.get_sample_value("iris_predictions_recorded_total") or 0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds, so that the tests take no minutes."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.5)


def test_the_table_holds_what_was_asked_and_what_was_answered(
    open_client: OpenClient, made: dict[str, Path], database: Database
) -> None:
    begun, written = time.time(), count(recorded)
    client = open_client(
        made["onnxruntime"],
        **settings(database.environ).model_dump(include=POSTGRES),
        record_predictions=True,
    )
    rows = flowers()[0][::15]
    batch = client.post("/predict/batch", json={"rows": [flower(row) for row in rows]}).json()
    single = client.post("/predict", json=FLOWER).json()
    client.post("/predict", json={"sepal_length": 1})

    wait_for(lambda: written() == len(rows) + 1)
    classes = [each["iris_class"] for each in batch["predictions"]]
    expected = [(*row.tolist(), found, 1) for row, found in zip(rows, classes, strict=True)]
    assert table(database) == [*expected, (*FLOWER.values(), single["iris_class"], 1)]
    with database.connect() as connection:
        (oldest, newest, fastest, slowest) = connection.execute(
            "SELECT extract(epoch FROM min(timestamp)), extract(epoch FROM max(timestamp)),"
            " min(latency_ms), max(latency_ms) FROM iris_prediction"
        ).fetchone() or (0, 0, 0, 0)
        indexes = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE tablename = 'iris_prediction'"
        ).fetchall()
    assert "(model_version, id)" in str(indexes)
    assert begun - 0.01 < oldest <= newest < time.time() + 0.01
    assert 0 < fastest <= slowest < 10_000


def test_a_single_row_is_packed_as_it_is_among_others() -> None:
    random = np.random.default_rng(0)
    rows, classes = random.normal(5, 2, (20, 4)), random.integers(0, 3, 20)
    singles = [
        pack_one(1.8e9 + 0.123456, row, iris_class, 7, 0.25)
        for row, iris_class in zip(rows.tolist(), classes.tolist(), strict=True)
    ]
    assert pack(1.8e9 + 0.123456, rows, classes, 7, 0.25) == b"".join(singles)


POSTGRES = {"postgres_host", "postgres_port", "postgres_user", "postgres_password", "postgres_db"}


@pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "is lost"])
def test_a_commit_without_an_answer_writes_every_row_once(
    database: Database, arrives: bool
) -> None:
    """What comes between the COMMIT and the next try is not taken for written either."""
    with Relay(database.server.port, []) as relay:
        to = settings(database.environ, postgres_port=relay.port)
        with recording(to) as made:
            made.record(entry(1))
            wait_for(lambda: made.waiting == 0)
            relay.cuts.append(arrives)
            made.record(entry(2, rows=3))
            wait_for(lambda: not relay.cuts)
            for number in (3, 4, 5):
                made.record(entry(number))
            wait_for(lambda: made.waiting == 0)

    assert numbers(table(database)) == [1, 2, 2, 2, 3, 4, 5]


@pytest.mark.parametrize("of_our_table", [True, False])
def test_a_number_of_a_lost_transaction_that_somebody_else_got_does_not_pass_for_written(
    database: Database, of_our_table: bool
) -> None:
    """A PostgreSQL that crashed before the number reached its disk gives it again."""
    ours = PredictionTable(settings(database.environ))
    ours.write(entry(1))
    with database.connect() as somebody:
        query = "SELECT xmin::text::xid8::text FROM iris_prediction" if of_our_table else NUMBER
        asked = somebody.execute(query.encode()).fetchone()
    assert asked is not None
    ours._unsure = asked[0]  # which has committed, but not these rows
    ours.write(entry(2))
    ours.close()

    assert numbers(table(database)) == [1, 2]


NUMBER = "SELECT pg_current_xact_id()::text"


def test_answers_are_given_and_kept_while_the_database_is_away(
    open_client: OpenClient,
    made: dict[str, Path],
    database: Database,
    proxy: StartProxy,
    capsys: pytest.CaptureFixture[str],
) -> None:
    door = proxy(database.server.port)
    door.cut()
    found = settings(database.environ, postgres_port=door.port)
    client = open_client(
        made["onnxruntime"], **found.model_dump(include=POSTGRES), record_predictions=True
    )

    def predict(number: int) -> None:
        row = FLOWER | {"sepal_length": float(number)}
        assert client.post("/predict", json=row).status_code == 200

    written = count(recorded)
    for number in (1, 2, 3):
        predict(number)
    wait_for(lambda: "the database does not take them" in capsys.readouterr().out)
    assert client.get("/health/ready").status_code == 200
    assert written() == 0

    door.start()
    wait_for(lambda: written() == 3)
    wait_for(lambda: "written again" in capsys.readouterr().out)
    door.cut()
    for number in (4, 5):
        predict(number)
    time.sleep(1)
    predict(6)
    door.start()
    wait_for(lambda: written() == 6)

    assert numbers(table(database)) == [1, 2, 3, 4, 5, 6]
    assert capsys.readouterr().out.count("does not take them") == 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"postgres_password": "wrong"}, "password authentication failed"),
        ({"postgres_db": "nowhere"}, 'database "nowhere" does not exist'),
        ({"postgres_port": NOBODY}, "refused"),
    ],
)
def test_what_does_not_fit_is_counted_and_said(
    database: Database,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, object],
    reason: str,
) -> None:
    lost, fails = count(dropped), count(failed)
    made = Recorder(PredictionTable(settings(database.environ, **changed)), max_rows=5)
    made.start()
    for number in range(4):
        made.record(entry(number))
    made.record(entry(4, rows=2))
    made.record(entry(5))
    made.record(entry(6))
    assert (made.waiting, lost()) == (5, 3)
    wait_for(lambda: fails() > 0)
    recorder.DRAIN_SECONDS, patience = 0.1, recorder.DRAIN_SECONDS
    try:
        assert made.close() == 5
    finally:
        recorder.DRAIN_SECONDS = patience

    said = capsys.readouterr().out
    assert "predictions dropped: too many wait for the database" in said
    assert "predictions lost: the database did not take them" in said
    assert reason in said


def test_two_servers_may_make_the_table_at_the_same_time(database: Database) -> None:
    tables = [PredictionTable(settings(database.environ)) for _ in range(6)]
    together = threading.Barrier(len(tables))

    def write(number: int) -> None:
        together.wait()
        tables[number].write(entry(number))
        tables[number].close()

    with ThreadPoolExecutor(len(tables)) as pool:
        list(pool.map(write, range(len(tables))))

    assert sorted(map(float, map(str, numbers(table(database))))) == [0, 1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_database_that_is_killed_while_rows_come_gets_every_row_once(tmp_path: Path) -> None:
    own = OwnPostgres(tmp_path)
    try:
        with recording(settings(own.environ)) as made:
            for number in range(150):
                made.record(entry(number))
                time.sleep(0.01)
                if number == 40:
                    own.kill()
                if number == 80:
                    own.start()
            wait_for(lambda: made.waiting == 0)
        assert numbers(table(own)) == list(range(150))
    finally:
        own.remove()


def test_what_was_answered_is_written_before_the_server_ends(
    start_api: StartApi, made: dict[str, Path], database: Database, proxy: StartProxy
) -> None:
    """Also when the database comes back only after the last answer."""
    door = proxy(database.server.port)
    environ = database.environ | {"POSTGRES_PORT": str(door.port), "RECORD_PREDICTIONS": "true"}
    api = start_api(made["onnxruntime"], **environ)
    door.cut()
    for number in range(50):
        body = {"rows": [FLOWER | {"sepal_length": (number + 1) / 10}] * 20}
        assert api.client.post("/predict/batch", json=body).status_code == 200
    api.terminate()
    wait_for(lambda: "Waiting for application shutdown" in api.log.read_text())
    door.start()
    api.wait()

    assert numbers(table(database)) == [(n + 1) / 10 for n in range(50) for _ in range(20)]
    assert "predictions lost" not in api.log.read_text()


@pytest.mark.slow
def test_a_database_that_hangs_slows_no_request_and_holds_up_no_stop_for_long(
    start_api: StartApi, made: dict[str, Path], database: Database, proxy: StartProxy
) -> None:
    door = proxy(database.server.port)
    environ = database.environ | {"POSTGRES_PORT": str(door.port), "RECORD_PREDICTIONS": "true"}
    api = start_api(made["onnxruntime"], RECORD_QUEUE_ROWS="150", **environ)
    api.client.post("/predict", json=FLOWER)
    wait_for(lambda: api.metric("iris_predictions_recorded_total") == 1)
    door.hangs = True

    took = []
    for _ in range(200):
        begun = time.monotonic()
        assert api.client.post("/predict", json=FLOWER).status_code == 200
        took.append(time.monotonic() - begun)
        time.sleep(0.005)
    assert sorted(took)[190] < 0.1, took
    assert api.metric("iris_predictions_recorded_total") == 1
    assert api.metric("iris_predictions_waiting") == 150
    assert api.metric("iris_predictions_dropped_total") == 50

    begun = time.monotonic()
    api.terminate()
    api.wait()
    assert time.monotonic() - begun < recorder.DRAIN_SECONDS + 5
    assert "predictions lost: the database did not take them" in api.log.read_text()
    assert "rows=150" in api.log.read_text()
