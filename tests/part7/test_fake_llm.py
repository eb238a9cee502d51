"""The fake model server does what its script says: other tests rely on it."""

import json
import subprocess
import sys
import time
from typing import Any

import httpx2
import pytest

from tests.conftest import ROOT, clean_environment
from tests.part7.servers import Fake, free_port
from tests.waiting import PATIENCE, wait_for

WORDS = " a river takes what the rain has left and gives it to the sea a river"
ASK = {"model": "m", "messages": [{"role": "user", "content": "one two"}]}


def script(fake: Fake, **values: Any) -> None:
    answer = httpx2.put(fake.url.replace("/v1", "/script"), json=values, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text


def ask(fake: Fake, **body: Any) -> httpx2.Response:
    return httpx2.post(f"{fake.url}/chat/completions", json=ASK | body, timeout=PATIENCE)


def stream(fake: Fake, **body: Any) -> list[tuple[float, str]]:
    """The lines of a stream, each with the time at which it came."""
    begun = time.monotonic()
    body = ASK | {"stream": True} | body
    url = f"{fake.url}/chat/completions"
    with httpx2.stream("POST", url, json=body, timeout=PATIENCE) as answer:
        return [(time.monotonic() - begun, line) for line in answer.iter_lines() if line]


def said(lines: list[tuple[float, str]]) -> str:
    chunks = [json.loads(line[6:]) for _, line in lines if line != "data: [DONE]"]
    return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])


def outcome(fake: Fake) -> tuple[str, int]:
    """What the server says of the last request, when it is over."""
    fake.wait_until_idle()
    last = httpx2.get(fake.url.replace("/v1", "/exchanges")).json()[-1]
    return last["outcome"], last["sent_tokens"]


def test_a_healthy_one_answers_whole_and_in_pieces(fake: Fake) -> None:
    whole = ask(fake).json()
    pieces = stream(fake, stream_options={"include_usage": True})

    assert whole["choices"][0]["message"] == {"role": "assistant", "content": WORDS}
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert said(pieces) == WORDS
    usage = json.loads(pieces[-2][1][6:])["usage"]
    assert usage == whole["usage"]
    assert usage == {"prompt_tokens": 2, "completion_tokens": 16, "total_tokens": 18}
    assert pieces[-1][1] == "data: [DONE]"
    assert outcome(fake) == ("finished", 16)


def test_a_first_token_and_a_rate_take_their_time(fake: Fake) -> None:
    script(fake, first_token=0.3, rate=20, tokens=5)

    lines = stream(fake)

    assert lines[0][0] >= 0.29
    assert lines[4][0] >= 0.3 + 4 / 20 - 0.01
    assert said(lines) == " a river takes what the"


def test_a_limit_of_tokens_holds(fake: Fake) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        choice = ask(fake, **{name: 2}).json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (" a river", "length")


def test_it_refuses_as_often_as_it_is_told(fake: Fake) -> None:
    script(fake, status=429, refusals=2, retry_after=7)

    answers = [ask(fake) for _ in range(3)]

    assert [each.status_code for each in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert answers[0].json()["error"]["message"] == "the script says 429"
    outcomes = [each.outcome for each in fake.exchanges]
    assert outcomes == ["refused", "refused", "finished"]
    script(fake, status=500)
    assert [ask(fake).status_code for _ in range(3)] == [500] * 3


@pytest.mark.parametrize("whole", [True, False])
def test_it_cuts_an_answer(fake: Fake, whole: bool) -> None:
    script(fake, cut_after=3)

    with pytest.raises(httpx2.RemoteProtocolError):
        ask(fake) if whole else stream(fake)

    assert outcome(fake) == ("cut", 3)


def test_it_sends_what_is_no_json(fake: Fake) -> None:
    script(fake, malformed_after=2, tokens=3)

    lines = [line for _, line in stream(fake)]

    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[2][6:])
    assert json.loads(lines[3][6:])["choices"][0]["delta"] == {"content": " takes"}
    with pytest.raises(json.JSONDecodeError):
        ask(fake).json()


def test_it_hangs_until_the_client_leaves(fake: Fake) -> None:
    script(fake, hang_after=2)
    lines = []
    with (
        httpx2.stream(
            "POST", f"{fake.url}/chat/completions", json=ASK | {"stream": True}, timeout=0.3
        ) as answer,
        pytest.raises(httpx2.ReadTimeout),
    ):
        lines += [line for line in answer.iter_lines() if line]

    assert outcome(fake) == ("closed by the client", 2)


def test_it_may_not_count_nor_have_a_tokenizer(fake: Fake) -> None:
    place = fake.url.replace("/v1", "/tokenize")
    assert httpx2.post(place, json={"content": "one two three"}).json() == {"tokens": [0, 1, 2]}
    script(fake, usage=False, tokenizer=False)

    assert "usage" not in ask(fake).json()
    assert "usage" not in stream(fake, stream_options={"include_usage": True})[-2][1]
    assert httpx2.post(place, json={"content": "one"}).status_code == 404


def test_a_script_that_makes_no_sense_changes_nothing(fake: Fake) -> None:
    script(fake, tokens=1)

    for wrong in ({"colour": "blue"}, {"rate": -1}, {"status": 99}):
        place = fake.url.replace("/v1", "/script")
        assert httpx2.put(place, json=wrong).status_code == 422

    assert ask(fake).json()["choices"][0]["message"]["content"] == " a"


def test_it_tells_what_it_was_asked(fake: Fake) -> None:
    httpx2.post(
        f"{fake.url}/chat/completions",
        json=ASK | {"temperature": 0.5},
        headers={"X-Request-ID": "mine"},
    )

    [exchange] = httpx2.get(fake.url.replace("/v1", "/exchanges")).json()

    assert exchange["messages"] == ASK["messages"]
    assert exchange["parameters"] == {"model": "m", "temperature": 0.5}
    assert exchange["headers"]["x-request-id"] == "mine"
    assert (exchange["stream"], exchange["outcome"]) == (False, "finished")


def test_it_can_be_started_by_hand() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fake_llm", "--port", str(port), "--tokens", "2"],
        cwd=ROOT,
        env=clean_environment(),
    )
    try:
        wait_for(lambda: process.poll() is not None or _answers(url))
        assert httpx2.get(f"{url}/v1/models").json()["data"][0]["id"] == "fake-model"
        answer = httpx2.post(f"{url}/v1/chat/completions", json=ASK).json()
        assert answer["choices"][0]["message"]["content"] == " a river"
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health").status_code == 200
    except httpx2.ConnectError:
        return False
