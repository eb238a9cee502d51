from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from part1.schema import FEATURES
from part3.dataset import RANDOM_STATE, TRAIN_SIZE, Split, split
from part3.training import score, train
from tests.archive.conftest import RUN_ID, Accuracies, accuracies, copy_archive
from tests.conftest import Database, Mlflow, RunModule

pytestmark = pytest.mark.slow


def scored(data: Split) -> Accuracies:
    scores = score(train(data.train), data)
    return {"Train": scores.train_accuracy, "Valid": scores.valid_accuracy}


def leaked(data: Split) -> int:
    train_side = pd.MultiIndex.from_frame(data.train[list(FEATURES)])
    return int(pd.MultiIndex.from_frame(data.valid[list(FEATURES)]).isin(train_side).sum())


def test_the_split_is_all_that_differs_between_old_and_new_registry_scripts(
    run_module: RunModule, database: Database, mlflow_server: Mlflow, tmp_path: Path
) -> None:
    environ = database.environ | mlflow_server.environ
    name = f"model_{uuid4().hex[:8]}"
    run_module("part1.table_creator", env=environ, check=True)
    run_module("part1.data_generator", "--count", "1000", "--bulk", env=environ, check=True)

    old = copy_archive("part3", tmp_path, database, mlflow_server)
    saved = old.run("save_model_to_registry.py", "--model-name", name)
    run_id = RUN_ID.search(saved)
    assert run_id is not None, saved
    loaded = old.run("load_model_from_registry.py", "--model-name", name, "--run-id", run_id[1])
    args = ("--model-name", name, "--rows", "100")
    new = run_module("part3.save_model_to_registry", *args, env=environ, check=True).stdout

    # The archive's model comes back as it went, and the rows of both are those in data.csv.
    assert accuracies(loaded) == accuracies(saved)
    newest_first = pd.read_csv(Path(old.folder, "data.csv"))
    by_rows = Split(
        *train_test_split(newest_first, train_size=TRAIN_SIZE, random_state=RANDOM_STATE)
    )
    apart = split(newest_first[::-1], train_size=TRAIN_SIZE, random_state=RANDOM_STATE)

    assert leaked(by_rows) > 0
    assert accuracies(saved) == scored(by_rows)
    assert leaked(apart) == 0
    assert accuracies(new) == scored(apart)
