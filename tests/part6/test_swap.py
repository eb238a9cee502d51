"""Another model takes over while requests come: none is lost, and none gets two versions."""

import asyncio
import base64
import http.client
import http.server
import itertools
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from part6.app import say_why
from part6.served_model import load_served_model
from tests.apis import Api
from tests.conftest import StartProxy
from tests.part6.conftest import (
    FLOWER,
    KEY,
    OpenClient,
    Registry,
    StartApi,
    flower,
    flowers,
    new_name,
    put_model,
)
from tests.part6.test_download import UNWANTED, Download, download, port_of
from tests.waiting import PATIENCE, wait_for

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["download"]

ROWS = flowers()[0][::6]
RELOAD = {"X-API-Key": KEY}


class Load:
    """Threads that ask for one flower or many, with a pause in seconds; every answer is kept."""

    def __init__(self, port: int, pause: float) -> None:
        self.port = port
        self.pause = pause
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.enough = threading.Event()

    def ask(self, path: str, body: object) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        text = json.dumps(body)
        while not self.enough.is_set():
            try:
                connection.request("POST", path, text, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as exc:
                self.failures.append(repr(exc))
                break
            if answer.status == 200:
                self.answers.append(json.loads(content))
            else:
                self.failures.append(f"{answer.status} {content!r}")
            time.sleep(self.pause)
        connection.close()

    @property
    def versions(self) -> set[int]:
        return {answer["model_version"] for answer in list(self.answers)}

    def seen_since(self, answers: int) -> set[int]:
        return {answer["model_version"] for answer in self.answers[answers:]}


@contextmanager
def load_on(api: Api, pause: float = 0.05) -> Iterator[Load]:
    load = Load(api.port, pause)
    batch = {"rows": [flower(row) for row in ROWS]}
    single = flower(ROWS[0])
    asked = [("/predict", single), ("/predict/batch", batch), ("/predict/batch", batch)]
    with ThreadPoolExecutor(len(asked)) as pool:
        asking = [pool.submit(load.ask, path, body) for path, body in asked]
        try:
            yield load
        finally:
            load.enough.set()
        for each in asking:
            each.result()


def scores_of(model_dir: Path) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return load_served_model(model_dir).predict(ROWS).scores


def check_every_answer(load: Load, expected: dict[int, Any]) -> None:
    """Each answer is 200 and has the scores of the one version that it names."""
    assert load.failures == []
    for answer in load.answers:
        found = [each["scores"] for each in answer.get("predictions", [answer])]
        wanted = expected[answer["model_version"]][: len(found)]
        assert np.abs(np.array(found) - wanted).max() < 1e-6


def test_under_load_every_answer_is_wholly_of_one_version(
    start_api: StartApi, model_dir: Path, pipelines: dict[int, "Pipeline"]
) -> None:
    expected = {1: scores_of(model_dir)}
    api = start_api(model_dir)

    def reload(_: int) -> dict[str, Any]:
        answer = api.client.post("/model/reload", headers=RELOAD)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    with load_on(api, pause=0.01) as load, ThreadPoolExecutor(2) as two:
        for version in range(2, 8):
            seen = len(load.answers)
            put_model(model_dir, pipelines[2 - version % 2], version)
            expected[version] = scores_of(model_dir)
            reloaded = list(two.map(reload, (1, 2)))
            assert sorted(each["changed"] for each in reloaded) == [False, True]
            assert {each["model_version"] for each in reloaded} == {version}
            wait_for(lambda seen=seen, now=version: now in load.seen_since(seen))  # type: ignore[misc]

    check_every_answer(load, expected)
    assert load.versions == set(range(1, 8))
    assert np.abs(expected[1] - expected[2]).max() > 1e-3


@pytest.mark.slow
def test_the_watcher_fetches_the_first_model_and_follows_the_alias_under_load(
    start_api: StartApi, registry: Registry, proxy: StartProxy, tmp_path: Path
) -> None:
    alias, model_dir = new_name(), tmp_path / "empty"
    registry.point(alias, 1)
    door = proxy(port_of(registry.environ["MLFLOW_TRACKING_URI"]))
    environ = registry.environ | {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{door.port}",
        "MODEL_ALIAS": alias,
        "MODEL_WATCH_SECONDS": "0.3",
    }
    api = start_api(model_dir, **environ)
    assert api.client.get("/health/live").status_code == 200
    wait_for(lambda: api.client.get("/health/ready").status_code == 200)
    assert api.client.get("/model").json()["onnx"]["rows"] == 300
    assert "serves" not in api.log.read_text()  # what is printed is for a terminal
    assert "made by run" in api.log.read_text()  # what is logged, a warning may be among it
    expected = {1: scores_of(model_dir)}

    with load_on(api) as load:
        registry.point(alias, 2)
        wait_for(lambda: 2 in load.versions)
        expected[2] = scores_of(model_dir)

        door.cut()
        wait_for(lambda: "the alias cannot be followed" in api.log.read_text())
        reloaded = api.client.post("/model/reload", headers=RELOAD)
        assert reloaded.status_code == 503
        assert "no MLflow at" in reloaded.json()["detail"]
        assert "version 2 goes on answering" in reloaded.json()["detail"]
        time.sleep(1)
        reasons = re.findall("alias cannot be followed(.*)", api.log.read_text())
        assert len(reasons) == len(set(reasons))  # several times a second, and each is said once

        seen = len(load.answers)
        door.start()
        reloaded = api.client.post("/model/reload", headers=RELOAD)
        assert reloaded.json() == {"changed": False, "model_version": 2, "previous_version": 2}
        wait_for(lambda: "the alias is followed again" in api.log.read_text())
        wait_for(lambda: len(load.answers) > seen + 20)
        assert load.seen_since(seen) == {2}

    check_every_answer(load, expected)
    api.terminate()
    api.wait()


@pytest.mark.slow
def test_reloads_at_once_fetch_once_and_what_cannot_serve_is_not_swapped_in(
    start_api: StartApi, registry: Registry, download: Download, tmp_path: Path
) -> None:
    alias, model_dir = new_name(), tmp_path / "model"
    registry.point(alias, 1)
    download(alias=alias)
    api = start_api(model_dir, **registry.environ)

    def reload(_: int = 0) -> Any:
        return api.client.post("/model/reload", headers=RELOAD).json()

    registry.point(alias, 2)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(reload, range(3)))
    assert sorted((each["changed"], each["previous_version"]) for each in answers) == [
        (False, 2),
        (False, 2),
        (True, 1),
    ]
    assert {each["model_version"] for each in answers} == {2}
    assert not api.client.get("/model").json()["onnx_wanted"]  # as it was asked for at first

    evil = registry.register(UNWANTED["a pickle"][0](registry, tmp_path))
    registry.point(alias, evil)
    refused = reload()
    assert refused["status"] == 503
    assert "could run foreign code, so it was not loaded" in refused["detail"]
    assert "version 2 goes on answering" in refused["detail"]
    assert not (tmp_path / "touched").exists()
    assert api.client.post("/predict", json=FLOWER).json()["model_version"] == 2

    download(version=1)  # pinned: from now on no alias moves it
    assert reload() == {"changed": True, "model_version": 1, "previous_version": 2}
    registry.point(alias, 2)
    assert reload() == {"changed": False, "model_version": 1, "previous_version": 1}

    shutil.rmtree(model_dir)  # what is served is still known, and downloaded again
    assert reload() == {"changed": True, "model_version": 1, "previous_version": 1}
    assert load_served_model(model_dir).manifest.alias is None


FAILED = 'iris_model_reloads_total{result="failed"}'


def test_an_alias_that_nobody_has_set_is_named(
    open_client: OpenClient, registry: Registry, download: Download, model_dir: Path
) -> None:
    download(version=1)
    download(alias="champion")
    known = {"mlflow_tracking_uri": registry.environ["MLFLOW_TRACKING_URI"]}
    for more in ({"model_alias": "shadow"}, {"model_name": "unknown", "model_alias": "shadow"}):
        answer = open_client(model_dir, **known, **more).post("/model/reload", headers=RELOAD)
        assert answer.status_code == 503
        assert "with alias 'shadow' (" in answer.json()["detail"]
        assert "set the alias on MLflow's page" in answer.json()["detail"]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["broken manifest", "broken pinned model"])
def test_a_damaged_folder_is_mended_by_the_watcher(
    start_api: StartApi, registry: Registry, download: Download, damage: str, model_dir: Path
) -> None:
    alias = new_name()
    registry.point(alias, 2)
    before = download(version=2) if "pinned" in damage else download(alias=alias)
    broken = model_dir / (
        "manifest.json" if "manifest" in damage else f"{before.folder}/model.skops"
    )
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])

    environ = {"MODEL_ALIAS": alias, "MODEL_WATCH_SECONDS": "0.2"}
    api = start_api(model_dir, **registry.environ | environ)
    wait_for(lambda: api.client.get("/health/ready").status_code == 200)
    after = load_served_model(model_dir).manifest
    varying = {"downloaded_at", "onnx", "onnx_wanted", "files", "folder"}
    assert after.model_dump(exclude=varying) == before.model_dump(exclude=varying)


def test_an_alias_that_is_set_counts_more_than_that_of_the_download(
    open_client: OpenClient, registry: Registry, download: Download, model_dir: Path
) -> None:
    set_alias, downloaded = new_name(), new_name()
    registry.point(set_alias, 1)
    registry.point(downloaded, 2)
    assert download(alias=downloaded).version == 2

    known = {"mlflow_tracking_uri": registry.environ["MLFLOW_TRACKING_URI"]}
    client = open_client(model_dir, **known)
    assert client.post("/model/reload", headers=RELOAD).json()["model_version"] == 2
    client = open_client(model_dir, **known, model_alias=set_alias)
    assert client.get("/model").json()["version"] == 2  # until it has asked
    assert client.post("/model/reload", headers=RELOAD).json()["model_version"] == 1
    assert client.get("/model").json()["alias"] == set_alias


def test_a_version_that_cannot_be_downloaded_is_not_tried_at_every_tick(
    start_api: StartApi, registry: Registry, tmp_path: Path
) -> None:
    """A try costs seconds of CPU time."""
    alias = new_name()
    registry.point(alias, registry.register(UNWANTED["a pickle"][0](registry, tmp_path)))
    environ = registry.environ | {"MODEL_ALIAS": alias, "MODEL_WATCH_SECONDS": "0.1"}
    api = start_api(tmp_path / "empty", **environ)
    wait_for(lambda: api.metric(FAILED) == 1)
    time.sleep(1)
    assert api.metric(FAILED) == 1
    assert "could run foreign code" in api.client.get("/health/ready").json()["detail"]


def test_what_nobody_foresaw_ends_the_watcher_with_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def watch() -> None:
        raise ZeroDivisionError

    async def watched() -> None:
        task = asyncio.create_task(watch())
        task.add_done_callback(say_why)
        await asyncio.wait([task])
        await asyncio.sleep(0)

    asyncio.run(watched())
    said = capsys.readouterr().out
    assert "the alias is no longer followed" in said
    assert "ZeroDivisionError" in said


class Guarded(http.server.BaseHTTPRequestHandler):
    """An MLflow that answers only to whom it knows."""

    def do_GET(self) -> None:
        known = base64.b64encode(b"ada:countess").decode()
        body = b'{"model_version": {"version": "1"}}'
        self.send_response(200 if self.headers["Authorization"] == f"Basic {known}" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_registry_with_a_password_is_asked_with_it(
    open_client: OpenClient, tmp_path: Path, pipelines: dict[int, "Pipeline"]
) -> None:
    put_model(tmp_path / "model", pipelines[1], alias="champion")
    with listening(Guarded) as address:
        for password, status in (("countess", 200), ("wrong", 503), ("", 503)):
            client = open_client(
                tmp_path / "model",
                mlflow_tracking_uri=address,
                mlflow_tracking_username="ada",
                mlflow_tracking_password=password,
            )
            answer = client.post("/model/reload", headers=RELOAD)
            assert answer.status_code == status, answer.text


class Stranger(http.server.BaseHTTPRequestHandler):
    """Something that listens where MLflow should."""

    answers: Iterator[tuple[int, bytes]] = itertools.cycle(
        [(200, b"<html>"), (200, b"{}"), (200, b"[1]"), (200, b'{"model_version": null}'),
         (200, b'{"model_version": {"version": "new"}}'), (500, b""), (404, b""), (403, b"")]
    )  # fmt: skip

    def do_GET(self) -> None:
        status, body = next(self.answers)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that answers so."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


@pytest.fixture
def stranger() -> Iterator[str]:
    """The address of a server that is not MLflow."""
    with listening(Stranger) as address:
        yield address


def test_whatever_answers_for_mlflow_the_old_model_goes_on(
    open_client: OpenClient,
    tmp_path: Path,
    pipelines: dict[int, "Pipeline"],
    stranger: str,
) -> None:
    put_model(tmp_path / "model", pipelines[1], alias="champion")
    client = open_client(tmp_path / "model", mlflow_tracking_uri=stranger)
    for _ in range(8):
        answer = client.post("/model/reload", headers=RELOAD)
        assert answer.status_code == 503, answer.text
        assert stranger in answer.json()["detail"]
        assert "version 1 goes on answering" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "5"
    assert client.post("/predict", json=FLOWER).status_code == 200

    odd = open_client(tmp_path / "model", mlflow_tracking_uri="http://[::1")
    assert odd.post("/model/reload", headers=RELOAD).status_code == 503


def test_the_watcher_survives_whatever_answers_for_mlflow(
    start_api: StartApi, tmp_path: Path, pipelines: dict[int, "Pipeline"], stranger: str
) -> None:
    put_model(tmp_path / "model", pipelines[1], alias="champion")
    api = start_api(tmp_path / "model", MLFLOW_TRACKING_URI=stranger, MODEL_WATCH_SECONDS="0.05")

    wait_for(lambda: api.metric(FAILED) >= 12)
    put_model(tmp_path / "model", pipelines[2], version=2)  # follows no alias
    wait_for(lambda: api.client.get("/model").json()["version"] == 2)
    api.terminate()
    api.wait()
    with suppress(ValueError):
        api.log.read_text().index("Traceback")
        pytest.fail(api.log.read_text())
