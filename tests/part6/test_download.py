"""`download_model`: the version that was meant, whole and verified, or the old one untouched."""

import json
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from part6.choosing import check_choice
from part6.command import BadUsageError, WorkFailedError
from part6.download_model import download_model
from part6.iris import FEATURES
from part6.manifest import Manifest, read_manifest
from part6.save_model_to_registry import save_model_to_registry
from part6.served_model import load_served_model
from tests.conftest import ROOT, StartProxy, clean_environment
from tests.part6.conftest import (
    NOBODY,
    Registry,
    flowers,
    new_name,
    skops_of,
)
from tests.part6.test_model_folder import Touch, contents
from tests.waiting import PATIENCE, wait_for

if TYPE_CHECKING:
    from tests.conftest import RunModule

DOWNLOAD = "part6.download_model"
TRAIN = "part6.save_model_to_registry"
Download = Callable[..., Manifest]


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """An empty place; MODEL_DIR names it."""
    return tmp_path / "model"


@pytest.fixture
def download(registry: Registry, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """A function that downloads in this process."""
    for variable, value in (registry.environ | {"MODEL_DIR": str(model_dir)}).items():
        monkeypatch.setenv(variable, value)

    def call(**options: object) -> Manifest:
        download_model(registry.name, **options)  # type: ignore[arg-type]
        return read_manifest(model_dir)

    return call


def only_line(stderr: str) -> str:
    """The one line that reports a failure; lines of the log, which carry a time, do not count."""
    assert "Traceback" not in stderr, stderr
    lines = [line for line in stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: "), stderr
    return lines[0]


def test_an_alias_a_version_and_a_run_lead_to_the_same_model(
    registry: Registry, download: Download, capsys: pytest.CaptureFixture[str], model_dir: Path
) -> None:
    alias = new_name()
    registry.point(alias, 2)
    by_alias = download(alias=alias)
    printed = capsys.readouterr().out.splitlines()
    by_version = download(version=2)
    by_run = download(run_id=registry.run_of(2))

    assert by_alias.alias == alias
    assert by_version.alias is by_run.alias is None
    varying = {"downloaded_at", "alias"}
    assert by_alias.model_dump(exclude=varying) == by_version.model_dump(exclude=varying)
    assert by_version.model_dump(exclude=varying) == by_run.model_dump(exclude=varying)
    assert (by_run.name, by_run.version) == (registry.name, 2)
    assert by_run.run_id == registry.run_of(2)
    assert by_run.verified
    assert [(column.name, column.type) for column in by_run.signature] == [
        (name, "double") for name in FEATURES
    ]
    assert printed == [
        f"model   {registry.name} version 2 @{alias}",
        f"run     {registry.run_of(2)}",
        f"files   2 in {model_dir / by_alias.folder}",
        "SHA-256 as registered",
        "serves  with scikit-learn",
    ]


def test_the_first_alias_is_the_champion(registry: Registry, download: Download) -> None:
    """The first version that was registered became it."""
    assert (download().alias, read_version(download())) == ("champion", 1)


def read_version(manifest: Manifest) -> int:
    return manifest.version


def test_the_converted_model_agrees_on_the_logged_rows(
    download: Download, model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = download(version=1, onnx=True)

    assert manifest.onnx is not None
    assert manifest.onnx.rows == 300
    assert 0 <= manifest.onnx.largest_score_difference <= 1e-5
    assert "ONNX Runtime: same class for 300 of 300 rows" in capsys.readouterr().out
    served = load_served_model(model_dir)
    assert served.runtime == "onnxruntime"
    original = download(version=1)
    answers = served.predict(flowers()[0])
    assert (
        np.abs(answers.scores - load_served_model(model_dir).predict(flowers()[0]).scores).max()
        < 1e-5
    )
    assert original.onnx is None


def test_a_conversion_that_is_impossible_leaves_scikit_learn_and_is_said(
    registry: Registry,
    download: Download,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    from sklearn.neighbors import NearestCentroid
    from sklearn.pipeline import Pipeline

    model = Pipeline([("only", NearestCentroid())]).fit(*flowers())
    version = registry.register({"model.skops": skops_of(model)})
    manifest = download(version=version, onnx=True)

    assert (manifest.onnx, manifest.onnx_wanted) == (None, True)
    assert "no ONNX: " in caplog.text
    assert "serves  with scikit-learn" in capsys.readouterr().out


def test_what_is_not_there_is_told_with_what_is_there(
    registry: Registry, download: Download, model_dir: Path
) -> None:
    with pytest.raises(WorkFailedError, match=r"has no alias 'nobody' \(there: .*champion \(ver"):
        download(alias="nobody")
    with pytest.raises(WorkFailedError, match=r"has no version 999 \(newest there: \d+(, \d+)+\)"):
        download(version=999)
    with pytest.raises(WorkFailedError, match=f"run {'a' * 32} made no version") as unknown:
        download(run_id="a" * 32)
    assert re.search(r"the newest are from .*\w{32} \(version \d+\)", str(unknown.value))
    with pytest.raises(WorkFailedError, match=r"has no model 'nothing' \(there: \w+"):
        download_model("nothing", version=1)
    assert not (model_dir / "manifest.json").exists()
    assert list(model_dir.glob(".incoming-*")) == []


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"run_id": "a" * 32, "version": 1}, "exclude each other"),
        ({"version": 1, "alias": "champion"}, "exclude each other"),
        ({"run_id": "a" * 32, "alias": "champion"}, "exclude each other"),
        ({"run_id": "../../etc"}, "32 hexadecimal digits"),
        ({"alias": "a/b"}, "letters, digits, dashes"),
        ({"alias": ""}, "letters, digits, dashes"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_bad_usage(choice: dict[str, object], reason: str) -> None:
    with pytest.raises(BadUsageError, match=reason):
        check_choice(**{"run_id": None, "version": None, "alias": None} | choice)  # type: ignore[arg-type]


def test_the_command_exits_with_2_for_bad_usage_and_1_for_a_registry_that_is_away(
    run_module: "RunModule", model_dir: Path
) -> None:
    both = run_module(DOWNLOAD, "--model-name", "m", "--version", "1", "--alias", "champion")
    environ = {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{NOBODY}",
        "MLFLOW_WAIT_SECONDS": "0.3",
        "MODEL_DIR": str(model_dir),
    }
    away = run_module(DOWNLOAD, "--model-name", "m", env=environ)

    assert (both.returncode, away.returncode) == (2, 1)
    assert "exclude each other" in only_line(both.stderr)
    assert f"no MLflow at http://127.0.0.1:{NOBODY} after 0.3 s" in only_line(away.stderr)
    assert "course up part6" in away.stderr


def test_files_that_are_not_those_that_were_registered_leave_the_old_model(
    registry: Registry, download: Download, model_dir: Path
) -> None:
    version = registry.register({})
    download(version=version, onnx=True)
    download(version=1)
    before = contents(model_dir)
    registry.overwrite(version, "model.skops", registry.file("model.skops") + b" ")

    with pytest.raises(WorkFailedError, match="are not those that were registered") as refused:
        download(version=version, onnx=True)
    assert "do not serve it, save it again" in str(refused.value)
    assert contents(model_dir) == before
    assert load_served_model(model_dir).manifest.version == 1


def evil(tmp_path: Path) -> bytes:
    return pickle.dumps(Touch(tmp_path / "touched"))


def mlmodel(registry: Registry, *changes: tuple[str, str]) -> bytes:
    """MLmodel of version 1 with some of its text changed."""
    text = registry.file("MLmodel").decode()
    for old, new in changes:
        assert old in text, text
        text = text.replace(old, new)
    return text.encode()


def as_pickle(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    said = mlmodel(
        registry,
        ("serialization_format: skops", "serialization_format: cloudpickle"),
        ("model.skops", "model.pkl"),
    )
    return {"MLmodel": said, "model.pkl": evil(tmp_path)}


def as_pickle_that_says_skops(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    return {"model.skops": evil(tmp_path)}


def trusting(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    changed = "skops_trusted_types:\n    - pathlib.Path.touch\n    serialization_format: skops"
    text = registry.file("MLmodel").decode()
    text = re.sub(r"\n +skops_trusted_types:.*", "", text)
    return {"MLmodel": text.replace("serialization_format: skops", changed).encode()}


def without_a_file(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    return {"MLmodel": mlmodel(registry, ("pickled_model: model.skops", "pickled_model: x.skops"))}


def of_somewhere_else(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    outside = tmp_path / "outside.skops"
    outside.write_bytes(registry.file("model.skops"))
    said = mlmodel(
        registry, ("pickled_model: model.skops", f"pickled_model: ../../../{outside.name}")
    )
    return {"MLmodel": said}


def of_other_columns(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    return {"MLmodel": mlmodel(registry, ('"petal_width"', '"weight"'))}


def without_columns(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    text = registry.file("MLmodel").decode()
    return {"MLmodel": re.sub(r"signature:\n(  .*\n)+", "", text).encode()}


def of_other_rows(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    from sklearn.linear_model import LogisticRegression

    rows, classes = flowers()
    model = LogisticRegression(max_iter=500).fit(rows[:, :3], classes)
    return {"model.skops": skops_of(model)}


def of_chance(registry: Registry, tmp_path: Path) -> dict[str, bytes]:
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import BaggingClassifier

    model = BaggingClassifier(DummyClassifier(strategy="stratified"), 50).fit(*flowers())
    for dice in model.estimators_:
        dice.random_state = None  # bagging gives each a seed
    return {"model.skops": skops_of(model)}


UNWANTED: dict[str, tuple[Callable[[Registry, Path], dict[str, bytes]], str]] = {
    "a pickle": (as_pickle, "could run foreign code, so it was not loaded"),
    "a pickle that says it is skops": (as_pickle_that_says_skops, "is no skops file"),
    "types to be trusted": (trusting, "could run foreign code, so it was not loaded"),
    "no file of the model": (without_a_file, "has no file x.skops"),
    "a file outside": (of_somewhere_else, "has no file outside.skops"),
    "other columns": (of_other_columns, "wants sepal_length, sepal_width, petal_length, weight"),
    "no columns": (without_columns, "wants columns it does not name"),
    "answers by chance": (of_chance, "does not give the answers it gave when it was downloaded"),
    "rows of three": (of_other_rows, "cannot answer for rows of"),
}


@pytest.mark.parametrize("kind", UNWANTED)
def test_a_version_that_cannot_be_served_is_refused_and_never_unpickled(
    registry: Registry, download: Download, tmp_path: Path, model_dir: Path, kind: str
) -> None:
    make, reason = UNWANTED[kind]
    version = registry.register(make(registry, tmp_path))
    with pytest.raises(WorkFailedError, match=re.escape(reason)) as refused:
        download(version=version, onnx=True)

    assert "\n" not in str(refused.value)
    assert not (tmp_path / "touched").exists()
    assert not (model_dir / "manifest.json").exists()
    assert list(model_dir.glob(".incoming-*")) == []


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (b"", "data.csv"),
        (b"a,b\n1,2\n", "data.csv"),
        (b"\xff\xfe\n", "data.csv"),
        (",".join(FEATURES).encode() + b"\n", "data.csv"),
        (",".join(FEATURES).encode() + b"\n1,2,,4\n", "data.csv"),
        (",".join(FEATURES).encode() + b"\n1,2,x,4\n", "data.csv"),
    ],
)
def test_training_rows_that_are_none_are_refused(
    registry: Registry, download: Download, snapshot: bytes, reason: str
) -> None:
    version = registry.register({}, snapshot=snapshot)
    with pytest.raises(WorkFailedError, match=reason) as refused:
        download(version=version)

    assert f"version {version}" in str(refused.value)


def test_a_version_without_checksums_is_taken_with_a_warning_or_not_at_all(
    registry: Registry, download: Download, caplog: pytest.LogCaptureFixture
) -> None:
    version = registry.register({})
    registry.client.delete_model_version_tag(registry.name, str(version), "model_sha256")
    assert not download(version=version).verified
    assert "nothing to compare its files with" in caplog.text

    registry.client.delete_model_version_tag(registry.name, str(version), "data_sha256")
    with pytest.raises(WorkFailedError, match="does not name the rows it was trained with"):
        download(version=version)


def test_a_registry_that_goes_away_in_the_middle_leaves_the_old_model(
    registry: Registry,
    download: Download,
    model_dir: Path,
    proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    download(version=2)
    before = contents(model_dir)
    door = proxy(port_of(registry.environ["MLFLOW_TRACKING_URI"]), cut_at=b"model.skops")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{door.port}")
    monkeypatch.setattr("part6.fetch.TRIES", 2)

    with pytest.raises(WorkFailedError, match="was not downloaded, what was there") as failed:
        download(version=1)
    assert "stopped answering" in str(failed.value)
    assert "MODEL_DIR" not in str(failed.value)
    assert contents(model_dir) == before
    assert list(model_dir.glob(".incoming-*")) == []


def port_of(uri: str) -> int:
    return int(uri.rsplit(":", 1)[1])


def test_a_registry_that_is_away_for_a_moment_is_asked_again(
    registry: Registry,
    download: Download,
    proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    door = proxy(port_of(registry.environ["MLFLOW_TRACKING_URI"]), cut_at=b"model.skops")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{door.port}")

    def mend() -> None:
        wait_for(lambda: door.was_cut)
        time.sleep(3)
        door.cut_at = None
        door.start()

    caplog.set_level("INFO")
    mending = threading.Thread(target=mend)
    mending.start()
    assert download(version=1).version == 1
    mending.join()
    assert "try 2 of 4" in caplog.text


def test_two_downloads_at_once_both_work_and_leave_one_whole_model(
    registry: Registry, run_module: "RunModule", model_dir: Path
) -> None:
    environ = registry.environ | {"MODEL_DIR": str(model_dir)}

    def fetch(version: int) -> subprocess.CompletedProcess[str]:
        choice = ("--model-name", registry.name, "--version", str(version))
        return run_module(DOWNLOAD, *choice, env=environ)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(fetch, (1, 2)))

    assert [each.returncode for each in done] == [0, 0], done
    for version, each in zip((1, 2), done, strict=True):
        assert f"model   {registry.name} version {version}" in each.stdout
        assert "Traceback" not in each.stderr
        assert "Warning" not in each.stderr
    assert load_served_model(model_dir).manifest.version in {1, 2}
    left = {each.name for each in model_dir.iterdir()} - {"manifest.json", ".lock"}
    assert len(left) == 2
    assert all(re.fullmatch(r"[12]-[0-9a-f]{12}", name) for name in left)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_whenever_it_is_killed_the_old_model_is_whole_and_the_next_one_cleans_up(
    registry: Registry, download: Download, model_dir: Path
) -> None:
    download(version=1)
    script = """
import sys
from pathlib import Path
import mlflow, mlflow.models, pandas, skops.io, sklearn.svm  # once and not in every fork
from part6.download_model import download_model
from part6.manifest import check_files, read_manifest
from tests.part6.kill_at import kill_at_every_touch
model_dir, name = Path(sys.argv[1]), sys.argv[2]
job = lambda: download_model(name, version=2)
for moment in kill_at_every_touch(job, model_dir, stride=5):
    there = read_manifest(model_dir)
    check_files(model_dir, there)
    print("killed", moment, there.version)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(model_dir), registry.name],
        cwd=ROOT,
        env=clean_environment() | registry.environ | {"MODEL_DIR": str(model_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert done.returncode == 0, done.stderr
    killed = [line.split() for line in done.stdout.splitlines() if line.startswith("killed")]
    assert len(killed) >= 8
    assert {line[2] for line in killed} <= {"1", "2"}
    assert read_manifest(model_dir).version == 2
    for name in (".incoming-abc", ".incoming-manifest"):
        (model_dir / name).mkdir()
    (model_dir / ".incoming-manifest.json").write_text("{")
    download(version=1)
    assert not [each.name for each in model_dir.iterdir() if each.name.startswith(".incoming")]


def test_a_place_that_cannot_be_written_is_named(
    download: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "file" / "model"))
    with pytest.raises(WorkFailedError, match="set MODEL_DIR") as failed:
        download(version=1)

    assert str(tmp_path / "file") in str(failed.value)


def test_the_manifest_is_readable_by_others_and_says_the_libraries(
    download: Download, model_dir: Path
) -> None:
    download(version=1)
    file = model_dir / "manifest.json"

    assert file.stat().st_mode & 0o777 == 0o644
    assert set(json.loads(file.read_text())["libraries"]) == {
        "numpy", "onnxruntime", "scikit-learn", "skl2onnx", "skops",
    }  # fmt: skip


def test_a_new_version_leaves_the_champion_and_says_so(
    registry: Registry, run_module: "RunModule"
) -> None:
    options = ("--model-name", registry.name, "--rows", "300")
    done = run_module(TRAIN, *options, env=registry.environ, check=True)

    assert f"champion: {registry.name} version 1 stays; --promote moves it" in done.stdout
    done = run_module(TRAIN, *options, "--kernel", "quad", env=registry.environ)
    wanted = "error: Invalid value for '--kernel': 'quad' is not one of 'rbf', 'linear', 'poly'.\n"
    assert (done.returncode, done.stderr) == (2, wanted)


def test_rows_of_one_class_teach_nothing_and_are_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in registry.environ.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(WorkFailedError, match="newest 1 rows do not have all 3 classes; take more"):
        save_model_to_registry(registry.name, rows=1)
