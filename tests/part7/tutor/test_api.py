"""The server's answers, whole and as streams, in OpenAI's shapes."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient
from tutor.answer import Tutor
from tutor.tokens import pieces_of

from tests.part7.tutor.conftest import TALK, Ask, content_of, events, request

PATH = "/v1/chat/completions"


def whole(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = client.post(PATH, json=request(**more))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def streamed(client: TestClient, **more: Any) -> list[dict[str, Any]]:
    answer = client.post(PATH, json=request(stream=True, **more))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    return events(answer.text)


def test_an_answer_has_openais_shape(client: TestClient, ask: Ask) -> None:
    answer = whole(client)

    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert isinstance(answer["created"], int)
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": ask(TALK), "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


def test_a_stream_says_what_the_whole_answer_says_token_by_token(
    client: TestClient, ask: Ask
) -> None:
    first, *tokens, last = streamed(client)

    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["delta"]["content"] for chunk in tokens] == pieces_of(ask(TALK))
    assert last["choices"][0]["delta"] == {}
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in (first, *tokens, last)]
    assert reasons == [None] * (len(tokens) + 1) + ["stop"]
    heads = {
        (
            chunk["id"],
            chunk["object"],
            chunk["created"],
            chunk["model"],
            chunk["choices"][0]["index"],
        )
        for chunk in (first, *tokens, last)
    }
    assert len(heads) == 1
    assert first["object"] == "chat.completion.chunk"
    assert all("usage" not in chunk for chunk in (first, *tokens, last))


def test_a_stream_ends_with_the_usage_if_it_is_asked_for(client: TestClient) -> None:
    *chunks, last = streamed(client, stream_options={"include_usage": True})

    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"] == whole(client)["usage"]


def test_usage_adds_up(client: TestClient, ask: Ask) -> None:
    usage = whole(client)["usage"]

    assert usage["prompt_tokens"] == len(pieces_of(TALK))
    assert usage["completion_tokens"] == len(pieces_of(ask(TALK)))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_after_as_many_tokens_as_asked_for(
    client: TestClient, ask: Ask, name: str
) -> None:
    answer = whole(client, **{name: 7})
    chunks = streamed(client, **{name: 7})

    assert answer["choices"][0]["message"]["content"] == "".join(pieces_of(ask(TALK))[:7])
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 7
    assert content_of(chunks) == answer["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_an_answer_that_just_fits_is_not_cut(client: TestClient, ask: Ask) -> None:
    length = len(pieces_of(ask(TALK)))

    assert whole(client, max_tokens=length)["choices"][0]["finish_reason"] == "stop"
    assert whole(client, max_tokens=length - 1)["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stop", ["essons sa", ["never said", "essons sa", "lessons say a"]])
def test_an_answer_ends_before_a_stop_string_that_spans_tokens(
    client: TestClient, ask: Ask, stop: str | list[str]
) -> None:
    before = ask(TALK).partition("essons sa")[0]
    if isinstance(stop, list):  # the one that comes first in the answer
        before = ask(TALK).partition("lessons say a")[0]
    assert not any("essons sa" in piece for piece in pieces_of(ask(TALK)))

    answer, chunks = whole(client, stop=stop), streamed(client, stop=stop)

    assert answer["choices"][0]["message"]["content"] == before
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert content_of(chunks) == before
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len(chunks) - 2


def test_a_stop_string_at_the_beginning_leaves_nothing(client: TestClient, ask: Ask) -> None:
    answer = whole(client, stop=ask(TALK)[:3])

    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["usage"]["completion_tokens"] == 0


def test_a_stop_string_beyond_the_last_token_does_not_count(client: TestClient, ask: Ask) -> None:
    answer = whole(client, max_tokens=2, stop=pieces_of(ask(TALK))[2])

    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_message_may_come_in_parts(client: TestClient) -> None:
    parts = [{"type": "text", "text": "How do I kill"}, {"type": "text", "text": "the generator?"}]

    assert (
        whole(client, content=parts)["choices"]
        == (whole(client, content="How do I kill\nthe generator?")["choices"])
    )


def test_parameters_of_a_real_model_are_ignored(client: TestClient) -> None:
    known = {"temperature": 0.7, "top_p": 0.9, "seed": 1, "user": "u", "presence_penalty": 0}
    nothing = dict.fromkeys(("stop", "n", "max_tokens", "stream", "stream_options"))

    assert whole(client, **known)["choices"] == whole(client)["choices"]
    assert whole(client, **nothing)["choices"] == whole(client)["choices"]


def test_any_model_may_be_asked_for_and_the_tutor_names_its_own(client: TestClient) -> None:
    assert whole(client, model="gpt-x")["model"] == "gpt-x"
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["max_model_len"]) == ("course-tutor", 8192)


def test_health_says_how_much_it_has_read(client: TestClient, tutor: Tutor) -> None:
    assert client.get("/health").json() == {"status": "ok", "passages": len(tutor.passages)}
    assert len(tutor.passages) > 500


def test_a_full_context_is_answered_and_a_longer_one_refused(client: TestClient) -> None:
    fits = client.post(PATH, json=request("hi " + "a" + " a" * 8190))
    too_long = client.post(PATH, json=request("hi " + "a" + " a" * 8191))

    assert fits.json()["usage"]["prompt_tokens"] == 8192
    assert fits.json()["choices"][0]["finish_reason"] == "length"
    assert too_long.status_code == 400
    assert too_long.json()["error"]["code"] == "context_length_exceeded"
    assert "8192" in too_long.json()["error"]["message"]


MESSAGE = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [MESSAGE, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": "x"}]}, None),
        ({"model": ""}, "model"),
        ({"model": "\ud800"}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, None),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "7"}, "max_tokens"),
        ({"stop": ""}, "stop[0]"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"n": 2}, "n"),
    ],
)
def test_a_bad_request_gets_400_and_the_place_of_its_fault(
    client: TestClient, changed: dict[str, Any], param: str | None
) -> None:
    body = json.dumps(request() | changed)
    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert "Value error" not in error["message"]
    assert error["message"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [("{", "application/json"), ("[1]", "application/json"), ("", "application/json"),
     ("{}", "text/plain"), ("[" * 100_000, "application/json")],
)  # fmt: skip
def test_what_is_no_json_object_gets_400(client: TestClient, body: str, content_type: str) -> None:
    answer = client.post(PATH, content=body, headers={"Content-Type": content_type})

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [{}, {"content": "a", "prompt": "b"}, {"content": 1}])
def test_tokenize_wants_one_text(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/tokenize", json=body)

    assert answer.status_code == 400
    assert "content" in answer.json()["error"]["message"]


def test_unknown_addresses_and_methods_are_errors_in_the_same_shape(client: TestClient) -> None:
    nowhere, wrong = client.get("/v1/nowhere"), client.get(PATH)

    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    assert wrong.headers["allow"] == "POST"
    for answer in (nowhere, wrong):
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert answer.json()["error"]["param"] is None


def test_a_body_over_a_megabyte_gets_413_whether_it_is_announced_or_not(
    client: TestClient,
) -> None:
    headers = {"Content-Type": "application/json"}
    large = b" " * 1_000_001
    announced = client.post(PATH, content=large, headers=headers)
    unannounced = client.post(PATH, content=iter([large[:600_000], large]), headers=headers)

    assert "content-length" not in unannounced.request.headers
    for answer in (announced, unannounced):
        assert answer.status_code == 413
        assert "1,000,000 bytes" in answer.json()["error"]["message"]


def test_a_bug_is_not_shown_to_the_client(
    client: TestClient, tutor: Tutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tutor, "answer", lambda _: 1 / 0)
    answer = client.post(PATH, json=request())

    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "ZeroDivision" not in answer.text
