"""Schemathesis reads the OpenAPI document and tries what it allows and what it forbids."""

from pathlib import Path

import pytest

from tests.apis import try_every_request
from tests.part5.conftest import StartApi


@pytest.mark.parametrize("app", ["crud_pydantic", "crud_sql"])
def test_schemathesis_finds_nothing_with_all_checks_on(
    start_api: StartApi, app: str, tmp_path: Path
) -> None:
    api = start_api(app)
    printed = try_every_request(api, "part5", tmp_path, "--max-examples=5")

    assert "✅ Stateful" in printed
    assert " 500 " not in api.log.read_text()
