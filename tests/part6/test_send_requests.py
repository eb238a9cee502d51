"""Traffic against a real model API: steady, shifted, through a swap and through a crash."""

import http.server
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from part6.command import BadUsageError, WorkFailedError
from part6.iris import FEATURES
from part6.manifest import read_manifest
from part6.seed_database import top_up
from part6.send_requests import draw, send_requests, shifted
from part6.settings import Settings
from tests.conftest import ROOT, Database, Server, _fresh_database, clean_environment
from tests.part6.model_folders import make_model_folder
from tests.waiting import PATIENCE, wait_for

FLOWER = dict(zip(FEATURES, (5.1, 3.5, 1.4, 0.2), strict=True))


@dataclass
class Api:
    """A model API on a port of its own, and the environment of those who ask it."""

    model_dir: Path
    environ: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "part6.app:app", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=clean_environment() | self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        wait_for(self.is_ready)

    def is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.environ['MODEL_API_URL']}/health/ready").is_success
        except httpx2.HTTPError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None


@pytest.fixture(scope="module")
def database(postgres: Server) -> Iterator[Database]:
    """A database with 200 rows that the tests of this module share."""
    for made in _fresh_database(postgres):
        values: dict[str, Any] = {name.lower(): value for name, value in made.environ.items()}
        top_up(Settings(_env_file=None, **values), rows=200, seed=2022)
        yield made


@pytest.fixture(scope="module")
def api(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("model")
    make_model_folder(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MODEL_DIR": str(folder), "MODEL_API_URL": f"http://127.0.0.1:{port}"}
    running = Api(folder, database.environ | address, port)
    running.start()
    running.wait()
    yield running
    running.stop()


@pytest.fixture
def here(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the environment of the script."""
    for name, value in api.environ.items():
        monkeypatch.setenv(name, value)


def sending(api: Api, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "part6.send_requests", *options],
        cwd=ROOT,
        env=clean_environment() | api.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def recorded(database: Database) -> list[tuple[float, ...]]:
    """All predictions so far, in order; none while the server has made no table."""
    columns = ", ".join((*FEATURES, "iris_class"))
    with database.connect() as connection:
        if connection.execute("SELECT to_regclass('iris_prediction')").fetchone() == (None,):
            return []
        query = f"SELECT {columns} FROM iris_prediction ORDER BY id"
        return connection.execute(query.encode()).fetchall()


def wait_for_recorded(database: Database, rows: int) -> None:
    wait_for(lambda: len(recorded(database)) >= rows, lambda: f"{len(recorded(database))} rows")


def test_every_request_is_answered_and_recorded_and_the_summary_says_so(
    api: Api, database: Database, capsys: pytest.CaptureFixture[str], here: None
) -> None:
    before = len(recorded(database))

    send_requests(count=100, rate=100)

    printed = capsys.readouterr().out
    assert re.search(r"^sent +100 requests, [\d.]+ per second of 100 asked for$", printed, re.M)
    assert re.search(r"^answers +200: 100$", printed, re.M)
    assert re.search(r"^rows +version \d: 100$", printed, re.M)
    assert float(re.search(r"^accuracy +([\d.]+) against", printed, re.M)[1]) > 0.9  # type: ignore[index]
    assert re.search(r"^latency +p50 [\d.]+ ms, p95 [\d.]+ ms, p99 [\d.]+ ms", printed, re.M)
    wait_for_recorded(database, before + 100)


def test_drifted_batches_arrive_longer_and_in_the_order_of_the_seed(
    api: Api, database: Database, capsys: pytest.CaptureFixture[str], here: None
) -> None:
    before = len(recorded(database))
    for drift in (0.0, 1.0):
        send_requests(count=2, rate=100, batch=50, drift=drift, connections=1, seed=3)
    wait_for_recorded(database, before + 200)

    rows = recorded(database)[before:]
    assert [row[:4] for row in rows[100:]] == [
        (round(a + 1, 3), b, round(c + 1, 3), d) for a, b, c, d, _ in rows[:100]
    ]
    assert re.search(
        r"^sent +2 requests, .*\n.*\nrows +version \d: 100$", capsys.readouterr().out, re.M
    )


def test_what_a_server_refuses_is_exit_status_1_with_its_words(
    api: Api, capsys: pytest.CaptureFixture[str], here: None
) -> None:
    with pytest.raises(WorkFailedError, match=r"2 of 2 requests were not .*; the first: .*rows"):
        send_requests(count=2, batch=1001)

    assert re.search(r"^answers +4\d\d: 2$", capsys.readouterr().out, re.M)


def test_a_rate_that_cannot_be_kept_is_said(
    api: Api, capsys: pytest.CaptureFixture[str], here: None
) -> None:
    send_requests(count=1000, rate=20_000, connections=1)

    printed = capsys.readouterr().out
    assert re.search(r"^behind +[\d.]+ s at the end: the rate cannot be kept; more", printed, re.M)
    # From when it was due: the median request waited for about half of all the others.
    assert float(re.search(r"p50 ([\d.]+) ms", printed)[1]) > 30  # type: ignore[index]


def test_a_swap_of_the_model_under_traffic_is_visible_and_costs_no_request(api: Api) -> None:
    old = read_manifest(api.model_dir).version
    process = sending(api, "--seconds", "60", "--rate", "100")
    header = {"X-API-Key": "mykey"}
    wait_for_traffic(api)
    make_model_folder(api.model_dir, version=old + 1)
    reload = httpx2.post(
        f"{api.environ['MODEL_API_URL']}/model/reload", headers=header, timeout=PATIENCE
    )
    assert reload.json()["model_version"] == old + 1
    wait_for_traffic(api)

    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=PATIENCE)

    assert (process.returncode, said) == (0, "")
    versions = re.findall(r"version (\d): [\d,]+", printed)
    assert versions == [str(old), str(old + 1)]
    assert re.search(r"^answers +200: [\d,]+$", printed, re.M)


def test_a_crash_and_restart_of_the_server_costs_no_request(api: Api) -> None:
    process = sending(api, "--count", "200", "--rate", "100", "--wait-seconds", "60")
    wait_for_traffic(api)
    api.stop(signal.SIGKILL)
    time.sleep(0.5)
    api.start()

    printed, said = process.communicate(timeout=PATIENCE)
    api.wait()

    assert process.returncode == 0, said
    assert "waiting for the model API at http://127.0.0.1:" in said
    assert re.search(r"^answers +200: 200$", printed, re.M)


def wait_for_traffic(api: Api) -> None:
    """Until the server has answered 20 more predictions."""

    def answered() -> float:
        metrics = httpx2.get(f"{api.environ['MODEL_API_URL']}/metrics").text
        return sum(
            float(n) for n in re.findall(r"^iris_predictions_total\{.*\} (\S+)", metrics, re.M)
        )

    begun = answered()
    wait_for(lambda: answered() >= begun + 20)


def test_without_a_server_it_says_how_to_start_one(
    here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setenv("MODEL_API_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(
            WorkFailedError, match=r"no model API at .* after 0\.2 s; start it with"
        ):
            send_requests(count=5, wait_seconds=0.2)


def test_a_server_that_is_no_model_api_is_told_apart(
    postgres: Server, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_API_URL", f"http://127.0.0.1:{postgres.port}")

    with pytest.raises(WorkFailedError, match="5 of 5 requests were not answered with 200"):
        send_requests(count=5, rate=1000)


class Garbled(http.server.BaseHTTPRequestHandler):
    """Says that its answers are compressed, which they are not."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"plain")

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_answer_that_nobody_can_read_is_counted_by_what_is_wrong_with_it(
    here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Garbled) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        monkeypatch.setenv("MODEL_API_URL", f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(WorkFailedError, match="5 of 5 requests were not answered with 200"):
            send_requests(count=5, rate=1000)
        server.shutdown()
        serving.join()
    assert "DecodingError: 5" in capsys.readouterr().out


def test_count_and_seconds_exclude_each_other() -> None:
    with pytest.raises(
        BadUsageError, match="--count, --seconds and --until-swap exclude each other"
    ):
        send_requests(count=5, seconds=5)


@pytest.mark.parametrize(
    ("drift", "sepal", "petal"),
    [(0.0, 5.1, 1.4), (0.2, 5.3, 1.6), (-2.0, 3.1, 0.1), (28.0, 30.0, 29.4)],
)
def test_a_shifted_flower_stays_within_what_is_valid(
    drift: float, sepal: float, petal: float
) -> None:
    assert shifted(FLOWER, drift) == FLOWER | {"sepal_length": sepal, "petal_length": petal}


def test_the_same_seed_draws_the_same_requests() -> None:
    rows = [(FLOWER | {"petal_width": float(i)}, i) for i in range(50)]
    streams = [draw(rows, seed, 7) for seed in (1, 1, 2)]
    first, again, other = ([next(stream) for _ in range(5)] for stream in streams)

    assert first == again != other
    assert [len(request.labels) for request in first] == [7] * 5
