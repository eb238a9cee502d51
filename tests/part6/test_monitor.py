"""The drift monitor on a real table of predictions, beside a real model folder."""

import base64
import io
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from part6 import recorded
from part6.command import BadUsageError, WorkFailedError
from part6.drift import Limits
from part6.drift_check import Check, check_drift
from part6.manifest import REFERENCE, read_manifest
from part6.monitor import monitor
from part6.prediction_table import PredictionTable, pack_one
from part6.settings import Settings
from tests.conftest import ROOT, Database, RunModule, clean_environment
from tests.part6.model_folders import flowers, make_model_folder
from tests.waiting import PATIENCE, wait_for

BEGIN = 1_795_000_000.0  # the first prediction; one a second
SMALL = Limits(window=100)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_model_folder(folder)
    return folder


@pytest.fixture
def settings(database: Database, model_dir: Path) -> Settings:
    return settings_for(database, model_dir)


@pytest.fixture
def environ(database: Database, model_dir: Path) -> dict[str, str]:
    return database.environ | {"MODEL_DIR": str(model_dir)}


def settings_for(database: Database, model_dir: Path, **more: Any) -> Settings:
    values = {name.lower(): value for name, value in database.environ.items()}
    return Settings(**(values | {"_env_file": None, "model_dir": model_dir} | more))


def predict(
    settings: Settings, rows: int, longer: float = 0.0, version: int = 1, seed: int = 7
) -> None:
    """Record `rows` predictions as the server does, of flowers that are so many cm longer."""
    x, y = flowers(seed, 1, rows)
    x += np.array([longer, 0, longer, 0])
    table = PredictionTable(settings)
    table.write(
        b"".join(
            pack_one(BEGIN + i, x[i].tolist(), int(y[i]), version, latency_ms=1 + i % 2)
            for i in range(rows)
        )
    )
    table.close()


def check(settings: Settings, limits: Limits = SMALL) -> Check:
    return check_drift(settings, limits).check


def images(page: str) -> list[Image.Image]:
    found: list[Image.Image] = []
    for png in re.findall(r'src="data:image/png;base64,([^"]+)"', page):
        image = Image.open(io.BytesIO(base64.b64decode(png, validate=True)))
        image.load()
        found.append(image)
    return found


class Balanced(HTMLParser):
    """Raises where a tag is closed that is not open, or the other way round."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, _: object) -> None:
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_drift_is_printed_reported_and_the_exit_status(
    environ: dict[str, str], settings: Settings, run_module: RunModule, tmp_path: Path
) -> None:
    predict(settings, 900, longer=1.0)

    done = run_module("part6.monitor", "--output", str(tmp_path / "out"), env=environ)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: drift in petal_length (PSI ")
    assert "sepal_length (PSI " in line
    assert line.endswith(
        "in each of the last 3 windows, since 2026-11-18 11:06:40 UTC at the latest"
    )
    assert re.search(r"petal_length +│ \d\.\d{3} │ \d\.\d{3} │ \d\.\d{3} │.*│ drift", done.stdout)
    assert re.search(r"sepal_width .*│ ok", done.stdout)
    assert "mean 1.50 ms, p95 2.00 ms" in done.stdout

    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "metrics.prom",
        "report.html",
        "report.json",
    ]
    page = (tmp_path / "out" / "report.html").read_text()
    Balanced(page)
    assert line.removeprefix("error: ").replace(">", "&gt;") in page
    assert "<title>Drift of sk_model version 1: drift</title>" in page
    assert [image.width > 800 for image in images(page)] == [True, True]
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)  # self-contained
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["verdict"] == "drift"
    assert report["first_at"] == "2026-11-18T11:06:40+00:00"
    assert {each["column"]: each["in_a_row"] for each in report["columns"]}["petal_length"] == 3
    gauges = {
        (sample.name, sample.labels.get("feature", "")): sample.value
        for family in text_string_to_metric_families((tmp_path / "out/metrics.prom").read_text())
        for sample in family.samples
    }
    assert gauges["iris_drift_detected", ""] == 1
    assert gauges["iris_drift_windows", "petal_length"] == 3
    assert gauges["iris_drift_psi", "petal_length"] > 0.2 > gauges["iris_drift_psi", "sepal_width"]


def test_no_drift_is_exit_status_0(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    here: None,
) -> None:
    predict(settings, 950, seed=8)

    monitor(output=tmp_path)

    printed = capsys.readouterr().out
    assert printed.endswith("no drift in 3 windows of 300 predictions\n")
    assert "iris_drift_detected 0.0" in (tmp_path / "metrics.prom").read_text()
    assert "no drift in 3 windows" in (tmp_path / "report.html").read_text()


@pytest.fixture
def here(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the environment of the script."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("rows", [0, 60, 250])
def test_too_few_predictions_are_no_verdict_however_they_look(
    rows: int, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], here: None
) -> None:
    predict(settings, 10, version=2)
    if rows:
        predict(settings, rows, longer=2.0)

    monitor(window=100, output=tmp_path)

    printed = capsys.readouterr().out
    assert printed.endswith(
        f"not enough yet: {rows} of 300 predictions (10 of version 2 left out)\n"
    )
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "not enough yet"
    page = (tmp_path / "report.html").read_text()
    Balanced(page)
    assert len(images(page)) == (rows > 0) + (rows >= 100)


def test_drift_that_began_in_the_last_window_is_not_called_yet(settings: Settings) -> None:
    predict(settings, 200)
    predict(settings, 100, longer=1.0)

    found = check(settings)

    assert found.verdict == "no drift"
    assert {each.in_a_row for each in found.columns} == {0, 1}


def test_predictions_of_other_versions_are_left_out_and_counted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(settings, 50, version=2)  # before the first that counts
    predict(settings, 300)
    predict(settings, 70, longer=5.0, version=2)
    predict(settings, 5, longer=5.0, version=3)

    found = check(settings)

    assert found.verdict == "no drift"
    assert found.predictions == 300
    assert found.left_out == {2: 70, 3: 5}
    monkeypatch.setattr(recorded, "LOOK_BACK", 60)
    assert check(settings).left_out == {2: 55, 3: 5}


def test_the_newest_windows_count_and_no_older_ones(settings: Settings) -> None:
    predict(settings, 300, longer=1.0)
    assert check(settings).verdict == "drift"
    predict(settings, 100)
    assert check(settings).verdict == "no drift"
    predict(settings, 300, longer=1.0)
    assert check(settings).verdict == "drift"


def test_a_reference_that_is_gone_changed_or_too_short_is_named(
    database: Database, tmp_path: Path
) -> None:
    settings = settings_for(database, tmp_path)
    with pytest.raises(WorkFailedError, match=r"there is no model in .* get one with"):
        check(settings)
    manifest = make_model_folder(tmp_path)
    reference = tmp_path / manifest.folder / REFERENCE
    reference.write_text(reference.read_text().replace("5.1", "6.1", 1))
    with pytest.raises(WorkFailedError, match=r"reference\.csv is not the file that was download"):
        check(settings)
    reference.unlink()
    with pytest.raises(WorkFailedError, match=r"reference\.csv is missing; download it again"):
        check(settings)
    make_model_folder(tmp_path, version=2, rows=40)
    assert read_manifest(tmp_path).version == 2
    with pytest.raises(WorkFailedError, match="holds 40 rows; a comparison needs 50"):
        check(settings)


def test_without_the_table_it_says_who_makes_it(settings: Settings) -> None:
    with pytest.raises(WorkFailedError, match=r"no table iris_prediction yet.*send_requests"):
        check(settings)


def test_without_the_database_it_says_how_to_start_it(database: Database, model_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        settings = settings_for(
            database, model_dir, postgres_port=taken.getsockname()[1], db_wait_seconds=0.2
        )
        with pytest.raises(WorkFailedError, match=r"no PostgreSQL at .*; start it with"):
            check(settings)


def test_a_folder_that_cannot_be_written_to_is_named(
    settings: Settings, tmp_path: Path, here: None
) -> None:
    predict(settings, 1)
    (tmp_path / "file").touch()

    with pytest.raises(WorkFailedError, match=r"file.*: .*; choose another --output"):
        monitor(output=tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--psi", "nan"], "nan is not greater than 0"),
        (["--p-value", "1"], "1 is not between 0 and 1"),
    ],
)
def test_bad_options_are_exit_status_2(
    options: list[str], says: str, run_module: RunModule
) -> None:
    done = run_module("part6.monitor", *options)

    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_for_gauges_needs_a_process_that_stays() -> None:
    with pytest.raises(BadUsageError, match="add --every 30"):
        monitor(metrics_port=9108)


@pytest.fixture
def gauges_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def watching(
    environ: dict[str, str], tmp_path: Path, gauges_port: int
) -> Iterator[subprocess.Popen[str]]:
    """A monitor that goes on."""
    options = ["--window", "100", "--every", "1", "--metrics-port", str(gauges_port)]
    with subprocess.Popen(
        [sys.executable, "-m", "part6.monitor", *options, "--output", str(tmp_path)],
        cwd=ROOT,
        env=clean_environment() | environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def detected(port: int) -> str | None:
    """What the gauge says, if it is served."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            metrics = answer.read().decode()
    except OSError:
        return None
    found = re.search(r"^iris_drift_detected (\S+)$", metrics, re.MULTILINE)
    return found[1] if found and "iris_drift_psi{" in metrics else None


def wait_until_detected(port: int, value: str | None) -> None:
    wait_for(lambda: detected(port) == value, lambda: f"iris_drift_detected is {detected(port)}")


def test_a_monitor_that_goes_on_says_once_that_drift_begins_and_once_that_it_ends(
    settings: Settings, watching: subprocess.Popen[str], gauges_port: int
) -> None:
    predict(settings, 300)
    wait_until_detected(gauges_port, "0.0")
    predict(settings, 300, longer=1.0)
    wait_until_detected(gauges_port, "1.0")
    predict(settings, 300)
    wait_until_detected(gauges_port, "0.0")
    predict(settings, 300, longer=1.0)
    wait_until_detected(gauges_port, "1.0")
    make_model_folder(settings.model_dir, version=2)
    wait_until_detected(gauges_port, None)  # nothing to compare yet
    watching.send_signal(signal.SIGTERM)

    _, said = watching.communicate(timeout=PATIENCE)

    assert watching.returncode == 0
    lines = [line[9:] for line in said.splitlines() if "no table iris_prediction yet" not in line]
    calm = "sk_model version 1: no drift in 3 windows of 100 predictions"
    assert lines[0] == f"gauges at http://127.0.0.1:{gauges_port}/metrics"
    assert lines[1] == calm
    assert lines[2].startswith("sk_model version 1: drift in petal_length (PSI ")
    ended = calm.replace("no drift", "the drift has ended, no drift")
    assert lines[3] == ended
    assert lines[4].startswith("sk_model version 1: drift in petal_length (PSI ")
    other = "sk_model version 2: not enough yet: 0 of 300 predictions (1,200 of version 1 left out)"
    assert lines[5:] == [other, "stopped"]
