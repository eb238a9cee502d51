"""The hyper-parameter search: the same result on threads, a local Dask cluster and another one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from course import ports
from part2.command import WorkFailedError
from part2.dataset import load_dataset, split_measurements
from part2.search import SearchResult, draw_candidates, search
from part2.seed_database import top_up
from tests.conftest import ROOT, Database, RunModule, clean_environment
from tests.part2.database_settings import settings_of
from tests.waiting import PATIENCE, wait_for

SMALL = ("--candidates", "12", "--folds", "3")


@pytest.fixture(scope="module")
def on_threads(run_module: RunModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("threads")
    args = (*SMALL, "--output", str(output))
    run_module("part2.search_train", *args, check=True, fresh=True)  # hashes that others lack
    return output


@dataclass(frozen=True)
class Cluster:
    """A Dask scheduler with one worker, started as the error message says, elsewhere."""

    address: str
    scheduler: "subprocess.Popen[bytes]"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    port = ports.choose(28786, not_these=set())
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    quiet = ("--no-dashboard", "--host", "127.0.0.1")
    commands = [
        [*dask, "scheduler", "--port", str(port), *quiet],
        [*dask, "worker", address, "--nthreads", "1", "--no-nanny", *quiet],
    ]
    # From a folder without this repository: a worker needs scikit-learn only.
    processes = [
        subprocess.Popen(command, cwd="/", env=clean_environment(), stderr=subprocess.DEVNULL)
        for command in commands
    ]
    yield Cluster(address, processes[0])
    for process in reversed(processes):
        process.terminate()
        process.wait(timeout=PATIENCE)


def assert_same_search(one: Path, two: Path) -> None:
    results = [json.loads((place / "metrics.json").read_bytes()) for place in (one, two)]
    for result in results:
        del result["created"]
    assert results[0] == results[1]
    assert "search_results.csv" in results[0]["files"]


def test_the_search_saves_what_it_found(on_threads: Path) -> None:
    metrics = json.loads((on_threads / "metrics.json").read_bytes())
    table = pd.read_csv(on_threads / "search_results.csv")

    assert set(metrics["files"]) == {
        "model.joblib",
        "data.csv",
        "confusion_matrix.png",
        "search_results.csv",
        "search.png",
    }
    assert len(table) == 12
    assert table["accuracy"].is_monotonic_decreasing
    assert table[["fold_1", "fold_2", "fold_3"]].mean(axis=1).to_list() == pytest.approx(
        table["accuracy"].to_list()
    )
    assert metrics["params"]["model"]["svc__C"] == pytest.approx(table["C"][0])
    assert metrics["params"]["model"]["svc__kernel"] == table["kernel"][0]


def test_a_local_dask_cluster_finds_the_same(
    run_module: RunModule, on_threads: Path, tmp_path: Path
) -> None:
    args = (*SMALL, "--jobs", "2", "--output", str(tmp_path))
    done = run_module("part2.search_train", "--dask", *args, check=True)

    assert "2 workers" in done.stderr
    assert "Traceback" not in done.stderr
    assert_same_search(on_threads, tmp_path)


def test_a_dask_cluster_elsewhere_finds_the_same_and_its_loss_is_one_line(
    run_module: RunModule, cluster: Cluster, on_threads: Path, tmp_path: Path
) -> None:
    args = (*SMALL, "--output", str(tmp_path))
    done = run_module("part2.search_train", "--dask", cluster.address, *args, check=True)

    assert f"Dask scheduler {cluster.address}, 1 workers" in done.stderr
    assert_same_search(on_threads, tmp_path)

    log = tmp_path / "log"
    many = ("--candidates", "20000", "--output", str(tmp_path / "none"))
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "part2.search_train", "--dask", cluster.address, *many],
            cwd=ROOT,
            env=clean_environment() | {"TTY_COMPATIBLE": "1"},
            stderr=stderr,
        )
    try:
        wait_for(lambda: re.search(rb"[1-9]\d*/100000", log.read_bytes()) is not None)
        cluster.scheduler.kill()
        assert process.wait(timeout=PATIENCE) == 1
    finally:
        process.kill()
        process.wait()
    lost = f"error: the Dask cluster at {cluster.address} was lost"
    assert lost in log.read_text().splitlines()[-1]
    assert "Traceback" not in log.read_text()
    assert not (tmp_path / "none").exists()


def small_search(jobs: int, done: list[float] | None = None) -> SearchResult:
    dataset = load_dataset(None)
    ticks = done if done is not None else []
    return search(
        dataset,
        split_measurements(dataset),
        draw_candidates(8),
        folds=3,
        jobs=jobs,
        on_fit=lambda: ticks.append(time.monotonic()),
    )


def test_the_number_of_jobs_does_not_change_the_result() -> None:
    one, four = small_search(1), small_search(4)

    pd.testing.assert_frame_equal(one.table, four.table)
    assert one.best.get_params()["svc__C"] == four.best.get_params()["svc__C"]


def test_progress_is_reported_fit_by_fit() -> None:
    done: list[float] = []
    small_search(2, done)

    assert len(done) == 8 * 3
    assert len(set(done)) == 8 * 3


def test_the_bar_moves_while_the_search_runs(run_module: RunModule, tmp_path: Path) -> None:
    args = ("--candidates", "200", "--output", str(tmp_path))
    done = run_module("part2.search_train", *args, env={"TTY_COMPATIBLE": "1"}, check=True)

    shown = {int(count) for count in re.findall(r"(\d+)/1000", done.stderr)}
    assert max(shown) == 1000
    assert len(shown) > 3


def test_the_defaults_are_always_a_candidate_and_win_ties() -> None:
    defaults = draw_candidates(2)[0]
    dataset = load_dataset(None)

    result = search(dataset, split_measurements(dataset), [defaults] * 3, folds=3, jobs=1)

    assert result.table.index[0] == 1
    assert result.best.get_params()["svc__C"] == 1.0


def test_more_folds_than_measurements_of_a_species_is_one_line() -> None:
    dataset = load_dataset(None)

    with pytest.raises(WorkFailedError, match=r"too few for 50 folds; .* fewer --folds"):
        search(dataset, split_measurements(dataset), draw_candidates(2), folds=50)


def test_the_search_reads_the_newest_rows(
    run_module: RunModule, database: Database, tmp_path: Path
) -> None:
    top_up(settings_of(database), 500, seed=2022)
    args = ("--source", "db", "--rows", "400", *SMALL, "--output", str(tmp_path))
    run_module("part2.search_train", *args, env=database.environ, check=True)

    assert list(pd.read_csv(tmp_path / "data.csv")["id"]) == list(range(101, 501))


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("--dask", "tcp://127.0.0.1:1"), 1, "start one with `uv run dask scheduler`"),
        (("--dask", "nonsense"), 2, "--dask nonsense is no address of a Dask scheduler"),
        (("--dask", "http://127.0.0.1:8786"), 2, "is no address of a Dask scheduler"),
        (("tcp://127.0.0.1:1",), 2, "a scheduler follows --dask"),
        (("--dask", "tcp://127.0.0.1:1", "--jobs", "2"), 2, "--jobs has no effect"),
        (("--jobs", "0"), 2, "--jobs"),
        (("--folds", "1"), 2, "--folds"),
        (("--candidates", "0"), 2, "--candidates"),
        (("--source", "moon"), 2, "--source"),
    ],
    ids=str,
)
def test_bad_usage_is_one_line(
    run_module: RunModule, tmp_path: Path, args: tuple[str, ...], status: int, message: str
) -> None:
    done = run_module("part2.search_train", *args, "--output", str(tmp_path / "none"))

    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups with signals")
@pytest.mark.parametrize(
    ("dask", "number"),
    [((), signal.SIGTERM), (("--dask",), signal.SIGINT)],
    ids=["threads", "dask"],
)
def test_an_interrupt_stops_every_process_and_saves_nothing(
    tmp_path: Path, dask: tuple[str, ...], number: signal.Signals
) -> None:
    output = tmp_path / "none"
    args = (*dask, "--jobs", "2", "--candidates", "20000", "--output", str(output))
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "part2.search_train", *args],
            cwd=ROOT,
            env=clean_environment() | {"TTY_COMPATIBLE": "1"},
            stderr=stderr,
            start_new_session=True,  # its process group is what a terminal would signal
        )
    try:
        wait_for(lambda: re.search(rb"[1-9]\d*/100000", log.read_bytes()) is not None)
        os.killpg(process.pid, number)
        assert process.wait(timeout=PATIENCE) == 130
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert log.read_text().splitlines()[-1].endswith("interrupted")
    assert "Traceback" not in log.read_text()
    wait_for(lambda: not group_exists(process.pid))
    assert not output.exists()


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
