"""What is answered: the same by both runtimes, one by one and together, for every valid flower."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from part6.iris import FEATURES, LABEL_NAMES, MAX_CM
from tests.part6.conftest import FLOWER, Client, OpenClient, flower, flowers, put_model, train

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

CENTIMETRES = st.floats(min_value=0, max_value=MAX_CM, exclude_min=True)


@pytest.fixture
def both(open_client: OpenClient, made: dict[str, Path]) -> dict[str, Client]:
    """A server with each runtime, on the same model."""
    clients = {runtime: open_client(folder) for runtime, folder in made.items()}
    for runtime, client in clients.items():
        assert client.get("/health/ready").json()["runtime"] == runtime
    return clients


def test_all_flowers_get_the_models_own_answer_from_both_runtimes(
    both: dict[str, Client], pipelines: dict[int, "Pipeline"]
) -> None:
    rows, _ = flowers()
    classes = pipelines[1].predict(_named(rows))
    scores = pipelines[1].decision_function(_named(rows))

    for runtime, client in both.items():
        body = {"rows": [flower(row) for row in rows]}
        answer = client.post("/predict/batch", json=body).json()
        found = answer["predictions"]
        assert [each["iris_class"] for each in found] == classes.tolist(), runtime
        assert [each["label"] for each in found] == [LABEL_NAMES[each] for each in classes]
        assert np.abs(np.array([each["scores"] for each in found]) - scores).max() < 1e-5
        assert (answer["score_kind"], answer["model_version"]) == ("decision_function", 1)


def _named(rows: "NDArray[np.float64]") -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=list(FEATURES))


def test_one_by_one_and_in_a_batch_the_answers_are_equal(both: dict[str, Client]) -> None:
    rows = [flower(row) for row in flowers()[0][::10]]

    for client in both.values():
        batch = client.post("/predict/batch", json={"rows": rows}).json()["predictions"]
        for row, together in zip(rows, batch, strict=True):
            alone = client.post("/predict", json=row).json()
            assert alone["model_version"] == 1
            assert alone["iris_class"] == together["iris_class"]
            assert alone["label"] == together["label"]
            assert alone["scores"] == pytest.approx(together["scores"], abs=1e-6)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values=st.tuples(CENTIMETRES, CENTIMETRES, CENTIMETRES, CENTIMETRES))
def test_every_flower_of_possible_size_is_answered_alike_by_both(
    both: dict[str, Client], values: tuple[float, ...]
) -> None:
    body = dict(zip(FEATURES, values, strict=True))
    answers = [client.post("/predict", json=body) for client in both.values()]

    assert [answer.status_code for answer in answers] == [200, 200]
    one, other = (answer.json() for answer in answers)
    assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    # Where two classes are as good as equal, either may be named.
    best, second = sorted(one["scores"])[-1:-3:-1]
    assert one["iris_class"] == other["iris_class"] or best - second < 1e-5


def test_the_order_of_the_fields_does_not_matter(client: Client) -> None:
    backwards = dict(reversed(FLOWER.items()))

    assert list(backwards) != list(FLOWER)
    assert client.post("/predict", json=backwards).json() == (
        client.post("/predict", json=FLOWER).json()
    )


def test_whole_numbers_are_numbers(client: Client) -> None:
    whole = {name: round(value) for name, value in FLOWER.items()}

    assert client.post("/predict", json=whole).status_code == 200


def test_the_documented_example_is_what_the_server_answers(client: Client) -> None:
    document = client.get("/openapi.json").json()["components"]["schemas"]
    (asked,), (answered,) = document["Flower"]["examples"], document["Prediction"]["examples"]
    answer = client.post("/predict", json=asked).json()

    assert answer.keys() == answered.keys()
    assert answer["iris_class"] == answered["iris_class"]
    assert np.argmax(answer["scores"]) == np.argmax(answered["scores"])


def test_a_model_with_probabilities_says_so(open_client: OpenClient, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    model = Pipeline([("only", LogisticRegression(max_iter=500))]).fit(*flowers())
    put_model(tmp_path / "model", model)
    answer = open_client(tmp_path / "model").post("/predict", json=FLOWER).json()

    assert answer["score_kind"] == "probability"
    assert sum(answer["scores"]) == pytest.approx(1)


def test_the_manifest_tells_what_the_model_was_made_of(client: Client) -> None:
    model = client.get("/model").json()

    assert (model["name"], model["version"], model["verified"]) == ("sk_model", 1, True)
    assert [column["name"] for column in model["signature"]] == list(FEATURES)
    assert set(model["files"]) == {"model.skops", "model.onnx", "reference.csv"}
    assert all(len(value) == 64 for value in model["files"].values())
    assert {"scikit-learn", "onnxruntime", "numpy", "skops"} <= set(model["libraries"])
    assert model["onnx"]["rows"] == 150


def test_metrics_count_requests_rows_and_name_the_model(client: Client) -> None:
    def value(line: str) -> float:
        found = [each for each in client.get("/metrics").text.splitlines() if line in each]
        return float(found[0].split()[-1]) if found else 0.0

    rows = 'iris_predictions_total{iris_class="2",model_version="1"}'
    good = 'iris_requests_total{path="/predict/batch",status="200"}'
    bad = 'iris_requests_total{path="/predict/batch",status="422"}'
    lost = 'iris_requests_total{path="other",status="404"}'
    before = [value(each) for each in (rows, good, bad, lost)]
    client.post("/predict/batch", json={"rows": [FLOWER] * 3})
    client.post("/predict/batch", json={"rows": []})
    client.get("/made/up/7")

    added = [
        now - then for now, then in zip(map(value, (rows, good, bad, lost)), before, strict=True)
    ]
    assert added == [3, 1, 1, 1]
    assert value('iris_model_info{name="sk_model",runtime="onnxruntime",version="1"}') == 1
    assert "/made/up/7" not in client.get("/metrics").text


def test_another_kernel_gives_other_scores(pipelines: dict[int, "Pipeline"]) -> None:
    """Or the tests that tell versions apart by their answers would show nothing."""
    rows = _named(flowers()[0])
    one, two = (pipelines[version].decision_function(rows) for version in (1, 2))

    assert np.abs(one - two).max(axis=1).min() > 1e-3
    assert np.abs(train("rbf").decision_function(rows) - one).max() < 1e-9
