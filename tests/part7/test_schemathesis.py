"""Schemathesis reads the OpenAPI document and tries what it allows and what it forbids."""

from pathlib import Path

import pytest

from tests.apis import Api, try_every_request
from tests.part7.servers import Fake, chat_process

pytestmark = pytest.mark.slow


def test_schemathesis_finds_nothing_with_all_checks_on(
    fake: Fake, postgresql_url: str, tmp_path: Path
) -> None:
    fake.does(tokens=3)
    # PostgreSQL, which refuses more than SQLite does.
    with chat_process(fake, postgresql_url, tmp_path) as chat:
        assert chat.process is not None
        api = Api(chat.process, chat.client, chat.port, chat.log)

        printed = try_every_request(api, "part7-llm-serving", tmp_path, "--max-examples=5")

        assert "✅ Stateful" in printed
        assert chat.metric("chat_messages_stuck") == 0
    assert '"level": "error"' not in chat.log.read_text()
