"""The OpenAPI document says what the server does: schemathesis tries what it allows and forbids."""

from pathlib import Path

import pytest

from tests.apis import try_every_request
from tests.part6.conftest import KEY, StartApi


@pytest.mark.slow
def test_schemathesis_finds_nothing_with_all_checks_on(
    start_api: StartApi, made: dict[str, Path], tmp_path: Path
) -> None:
    api = start_api(made["onnxruntime"])
    try_every_request(api, "part6", tmp_path, "--max-examples=10", "-H", f"X-API-Key: {KEY}")

    assert 'status="500"' not in api.client.get("/metrics").text
    assert "Traceback" not in api.log.read_text()
