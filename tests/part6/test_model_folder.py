"""The folder that a server reads: replaced in one step, and believed only when it proves itself."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from part6.command import WorkFailedError
from part6.estimator import load_skops
from part6.manifest import read_manifest
from part6.model_folder import lay_out
from part6.served_model import load_served_model
from tests.conftest import ROOT
from tests.part6.conftest import FLOWER, OpenClient, flowers, put_model, train

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under `folder`."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_a_new_model_takes_the_place_of_the_old_one(
    model_dir: Path, pipelines: dict[int, "Pipeline"]
) -> None:
    first = read_manifest(model_dir).folder
    second = put_model(model_dir, pipelines[2], version=2, onnx=False).folder
    assert load_served_model(model_dir).manifest.version == 2
    assert {each.name for each in model_dir.iterdir()} == {"manifest.json", first, second}

    third = put_model(model_dir, pipelines[1], version=3, onnx=False).folder
    assert {each.name for each in model_dir.iterdir()} == {"manifest.json", second, third}


def test_the_same_model_again_mends_a_damaged_file(
    model_dir: Path, pipelines: dict[int, "Pipeline"]
) -> None:
    put_model(model_dir, pipelines[2], onnx=False)
    file = model_dir / read_manifest(model_dir).folder / "model.skops"
    file.write_bytes(b"")
    with pytest.raises(WorkFailedError):
        load_served_model(model_dir)

    put_model(model_dir, pipelines[2], onnx=False)
    assert load_served_model(model_dir).manifest.version == 1


def test_files_of_a_name_that_a_server_reads_are_not_taken_away_under_it(
    model_dir: Path, pipelines: dict[int, "Pipeline"]
) -> None:
    """The same version once more: its files are there already and stay."""
    folder = model_dir / put_model(model_dir, pipelines[2], onnx=False).folder
    before = {file.name: file.stat().st_ino for file in folder.iterdir()}
    put_model(model_dir, pipelines[2], onnx=False)

    assert {file.name: file.stat().st_ino for file in folder.iterdir()} == before


def test_somebodys_own_folders_beside_it_stay(
    model_dir: Path, pipelines: dict[int, "Pipeline"]
) -> None:
    own = [model_dir / name for name in ("my-notes", "2026-11-21", "1-of-2", "12-")]
    for folder in own:
        folder.mkdir()
    for version in (2, 3):
        put_model(model_dir, pipelines[2], version=version, onnx=False)

    assert all(folder.is_dir() for folder in own)
    assert len(list(model_dir.iterdir())) == len(own) + 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize("again", ["another version", "the same version"])
def test_whenever_it_is_killed_one_whole_model_is_there(
    tmp_path: Path, pipelines: dict[int, "Pipeline"], again: str
) -> None:
    model_dir, other = tmp_path / "model", tmp_path / "other"
    for version in (1, 2):
        put_model(model_dir, pipelines[1], version, onnx=False)
    new = {"another version": 3, "the same version": 2}[again]
    manifest = put_model(other, pipelines[1], new, onnx=False)
    script = f"""
import shutil
from pathlib import Path
from part6.manifest import check_files, read_manifest
from part6.model_folder import put_in_place
from tests.part6.kill_at import kill_at_every_touch
model_dir, other = Path({str(model_dir)!r}), Path({str(other)!r})
manifest = read_manifest(other)
def job():
    incoming = model_dir / ".incoming-1"
    shutil.copytree(other / manifest.folder, incoming / "model")
    put_in_place(model_dir, incoming / "model", manifest)
for _ in kill_at_every_touch(job, model_dir):
    there = read_manifest(model_dir)
    check_files(model_dir, there)
    print(there.version)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    versions = done.stdout.split()
    assert len(versions) > 8
    assert set(versions) == {"2", str(manifest.version)}
    assert versions == sorted(versions)


def without_its_file(name: str) -> Callable[[Path], None]:
    return lambda model_dir: (folder_of(model_dir) / name).unlink()


def truncated(name: str) -> Callable[[Path], None]:
    def damage(model_dir: Path) -> None:
        file = folder_of(model_dir) / name
        file.write_bytes(file.read_bytes()[:-20])

    return damage


def rewritten(**changed: Any) -> Callable[[Path], None]:
    def damage(model_dir: Path) -> None:
        file = model_dir / "manifest.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    return damage


def said(text: bytes) -> Callable[[Path], None]:
    return lambda model_dir: void((model_dir / "manifest.json").write_bytes(text))


def void(_: object) -> None:
    """For a lambda that has nothing to say."""


def folder_of(model_dir: Path) -> Path:
    found: str = json.loads((model_dir / "manifest.json").read_text())["folder"]
    return model_dir / found


def other_signature(model_dir: Path) -> None:
    columns = json.loads((model_dir / "manifest.json").read_text())["signature"]
    rewritten(signature=[{"name": "weight", "type": "double"}, *columns[1:]])(model_dir)


def backwards(model_dir: Path) -> None:
    columns = json.loads((model_dir / "manifest.json").read_text())["signature"]
    rewritten(signature=columns[::-1])(model_dir)


def other_answers(model_dir: Path) -> None:
    smoke = json.loads((model_dir / "manifest.json").read_text())["smoke"]
    smoke["scores"][0][0] += 0.001
    rewritten(smoke=smoke)(model_dir)


def onnx_of_another_model(model_dir: Path) -> None:
    """All checksums are right, and yet it is another model."""
    from part6.file_hashes import file_hashes

    other = model_dir.parent / "other"
    put_model(other, train("linear"))
    shutil.copy(folder_of(other) / "model.onnx", folder_of(model_dir) / "model.onnx")
    rewritten(files=file_hashes(folder_of(model_dir)))(model_dir)


def no_onnx_at_all(model_dir: Path) -> None:
    """The manifest says ONNX Runtime serves, and names no file for it."""
    from part6.file_hashes import file_hashes

    (folder_of(model_dir) / "model.onnx").unlink()
    rewritten(files=file_hashes(folder_of(model_dir)))(model_dir)


def onnx_that_is_none(model_dir: Path) -> None:
    from part6.file_hashes import file_hashes

    (folder_of(model_dir) / "model.onnx").write_bytes(b"not a model")
    rewritten(files=file_hashes(folder_of(model_dir)))(model_dir)


def onnx_of_three_columns(model_dir: Path) -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType
    from sklearn.linear_model import LogisticRegression

    from part6.file_hashes import file_hashes

    rows, classes = flowers()
    model = LogisticRegression(max_iter=500).fit(rows[:, :3], classes)
    made = to_onnx(
        model,
        initial_types=[("rows", DoubleTensorType([None, 3]))],
        options={id(model): {"zipmap": False}},
    )
    (folder_of(model_dir) / "model.onnx").write_bytes(made.SerializeToString())
    rewritten(files=file_hashes(folder_of(model_dir)))(model_dir)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no skops file": (without_its_file("model.skops"), "model.skops is missing"),
    "no ONNX file": (without_its_file("model.onnx"), "model.onnx is missing"),
    "no reference": (without_its_file("reference.csv"), "reference.csv is missing"),
    "no folder": (lambda folder: shutil.rmtree(folder_of(folder)), "is missing"),
    "truncated skops": (truncated("model.skops"), "is not the file that was downloaded"),
    "truncated ONNX": (truncated("model.onnx"), "is not the file that was downloaded"),
    "empty manifest": (said(b""), "is not a manifest"),
    "half a manifest": (said(b'{"name": "sk_model", '), "is not a manifest"),
    "manifest in Latin-1": (said(b'{"name": "\xe4"}'), "is not a manifest"),
    "manifest of another time": (rewritten(colour="blue"), "colour"),
    "no version": (rewritten(version="newest"), "version"),
    "other columns": (other_signature, "wants other columns"),
    "columns in another order": (backwards, "wants other columns"),
    "other answers": (other_answers, "does not give the answers"),
    "no answers": (rewritten(smoke={"rows": [], "iris_class": [], "scores": []}), "smoke.rows"),
    "answers of no shape": (
        rewritten(smoke={"rows": [[1.0], [1.0, 2.0]], "iris_class": [1], "scores": [[1.0]]}),
        "smoke.rows.0",
    ),
    "ONNX of another model": (onnx_of_another_model, "does not give the answers"),
    "ONNX without a file": (no_onnx_at_all, "model.onnx"),
    "ONNX of three columns": (onnx_of_three_columns, "cannot compute the model: "),
    "ONNX that is none": (onnx_that_is_none, "cannot open the model"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_is_not_what_its_manifest_says_is_not_served(
    open_client: OpenClient, model_dir: Path, damage: str
) -> None:
    break_it, reason = DAMAGES[damage]
    break_it(model_dir)
    client = open_client(model_dir)

    answer = client.post("/predict", json=FLOWER)
    assert answer.status_code == 503
    assert reason in answer.json()["detail"]
    assert "download it again with" in answer.json()["detail"]
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize("damage", ["truncated ONNX", "other answers", "no folder"])
def test_a_damaged_folder_is_not_swapped_in_and_the_old_model_goes_on(
    open_client: OpenClient, model_dir: Path, pipelines: dict[int, "Pipeline"], damage: str
) -> None:
    client = open_client(model_dir, mlflow_wait_seconds=0.2)
    put_model(model_dir, pipelines[2], version=2)
    DAMAGES[damage][0](model_dir)
    before = client.post("/predict", json=FLOWER).json()
    reloaded = client.post("/model/reload", headers={"X-API-Key": "the key of these tests"})

    assert reloaded.status_code == 503
    assert DAMAGES[damage][1] in reloaded.json()["detail"]
    assert "the server tried to: no MLflow at" in reloaded.json()["detail"]
    assert "version 1 goes on answering" in reloaded.json()["detail"]
    assert client.post("/predict", json=FLOWER).json() == before
    assert before["model_version"] == 1
    assert client.get("/health/ready").status_code == 200


def skops_of(model: object, file: Path) -> Path:
    import skops.io

    skops.io.dump(model, file)
    return file


def test_a_model_that_cannot_be_converted_stays_with_scikit_learn_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from sklearn.neighbors import NearestCentroid
    from sklearn.pipeline import Pipeline

    model = Pipeline([("only", NearestCentroid())]).fit(*flowers())
    made = lay_out(tmp_path / "out", skops_of(model, tmp_path / "a.skops"), flowers()[0], onnx=True)

    assert made.onnx is None
    assert set(made.files) == {"model.skops", "reference.csv"}
    assert "no ONNX: " in caplog.text
    assert "scikit-learn will serve" in caplog.text
    assert put_model(tmp_path / "model", model).onnx is None
    assert load_served_model(tmp_path / "model").runtime == "scikit-learn"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("large scores", "a score differs by"),  # the converted kernel is computed in float32
        ("one against the rest", "get another class"),
        ("one against one", "another shape"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_conversion_that_disagrees_is_thrown_away_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, reason: str
) -> None:
    from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.svm import SVC

    rows, classes = flowers()
    last = {
        "large scores": SVC(C=1e6, gamma=0.01),
        "one against the rest": OneVsRestClassifier(SVC()),
        "one against one": OneVsOneClassifier(SVC()),
    }[kind]
    model = Pipeline([("only", last)]).fit(rows, classes)
    made = lay_out(tmp_path / "out", skops_of(model, tmp_path / "a.skops"), rows, onnx=True)

    assert made.onnx is None
    assert reason in caplog.text
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_a_type_that_could_run_code_is_not_loaded_and_told_in_one_line(tmp_path: Path) -> None:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    model = Pipeline([("evil", FunctionTransformer(run_something))])
    with pytest.raises(WorkFailedError, match="could run foreign code") as refused:
        load_skops(skops_of(model, tmp_path / "a.skops"))

    assert "\n" not in str(refused.value)
    assert "run_something" in str(refused.value)


def run_something(rows: object) -> object:
    """What a model could bring along."""
    return rows


def test_a_pickle_with_the_name_of_a_model_is_not_unpickled(tmp_path: Path) -> None:
    import pickle

    file = tmp_path / "model.skops"
    file.write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    with pytest.raises(WorkFailedError, match="no skops file"):
        load_skops(file)

    assert not (tmp_path / "touched").exists()
    pickle.loads(file.read_bytes())
    assert (tmp_path / "touched").exists()  # it would have


class Touch:
    """A pickle that does something when it is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def other_classes(tmp_path: Path) -> bytes:
    rows, classes = flowers()
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=500).fit(rows, classes + 1)
    return skops_of(model, tmp_path / "other.skops").read_bytes()


def classes_that_are_no_whole_numbers(tmp_path: Path) -> bytes:
    """As of a table in which one was missing."""
    from sklearn.linear_model import LogisticRegression

    rows, classes = flowers()
    model = LogisticRegression(max_iter=500).fit(rows, classes.astype(float))
    return skops_of(model, tmp_path / "float.skops").read_bytes()


def broken_schema(tmp_path: Path) -> bytes:
    import skops.io

    whole = tmp_path / "whole.skops"
    skops.io.dump(train(), whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "new.skops", "w") as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(name, text.replace(b"'descr'", b"'descr") if name[-4:] == ".npy" else text)
    return (tmp_path / "new.skops").read_bytes()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: b"", "no skops file"),
        (lambda _: b"PK\x03\x04", "no skops file"),
        (broken_schema, "no skops file"),
        (other_classes, "no classifier of the classes"),
        (classes_that_are_no_whole_numbers, "as whole numbers"),
    ],
)
def test_a_file_that_holds_no_iris_model_is_refused(
    tmp_path: Path, make: Callable[[Path], bytes], reason: str
) -> None:
    file = tmp_path / "model.skops"
    file.write_bytes(make(tmp_path))

    with pytest.raises(WorkFailedError, match=reason):
        load_skops(file)


def test_a_pipeline_with_a_step_that_does_nothing_is_served(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    steps = [("nothing", "passthrough"), ("model", LogisticRegression(max_iter=500))]
    put_model(tmp_path / "model", Pipeline(steps).fit(*flowers()))
    assert load_served_model(tmp_path / "model").manifest.version == 1


def test_a_model_that_wants_other_columns_is_refused(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    rows, classes = flowers()
    model = LogisticRegression(max_iter=500).fit(rows[:, :3], classes)
    with pytest.raises(WorkFailedError, match="cannot answer"):
        lay_out(tmp_path / "out", skops_of(model, tmp_path / "a.skops"), rows, onnx=True)
