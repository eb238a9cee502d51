"""The tokenizer: reversible, bounded, and counted the same way everywhere."""

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tutor.answer import Tutor
from tutor.tokens import count, pieces_of, token_id

TEXTS = st.text() | st.text("ab 1\n\t\r가나다라`-☃\N{GRINNING FACE}")


@settings(deadline=None)  # machines are shared
@given(TEXTS)
def test_the_pieces_together_are_the_text(text: str) -> None:
    pieces = pieces_of(text)

    assert "".join(pieces) == text
    assert count(text) == len(pieces)
    assert all(1 <= len(piece) <= 17 for piece in pieces)


def test_pieces_are_words_with_their_blank_syllables_and_punctuation() -> None:
    assert pieces_of("Promote it, then:\n") == ["Promote", " it", ",", " then", ":", "\n"]
    assert pieces_of("모델을 내려받는 방법") == ["모델을", " 내려받", "는", " 방법"]


def test_every_passage_of_the_lessons_is_reversible(tutor: Tutor) -> None:
    for passage in tutor.passages:
        for block in passage.blocks:
            assert "".join(pieces_of(block)) == block


def test_a_token_has_the_same_number_in_every_process() -> None:
    assert [token_id(piece) for piece in (" drift", "모델을")] == [941855908, 1917980264]


def test_tokenize_counts_what_llama_cpp_and_vllm_call_it(client: TestClient) -> None:
    text = "How is a champion promoted?"
    ids = [token_id(piece) for piece in pieces_of(text)]
    expected = {"count": len(ids), "max_model_len": 8192, "tokens": ids}

    assert client.post("/tokenize", json={"content": text}).json() == expected
    assert client.post("/tokenize", json={"model": "any", "prompt": text}).json() == expected
    assert client.post("/tokenize", json={"content": ""}).json()["count"] == 0


def test_tokenize_and_usage_agree(client: TestClient) -> None:
    text = "모델을 내려받는 방법, please"
    messages = [{"role": "system", "content": text}, {"role": "user", "content": text}]
    asked = {"model": "any", "messages": messages}

    counted = client.post("/tokenize", json={"content": text}).json()["count"]
    usage = client.post("/v1/chat/completions", json=asked).json()["usage"]

    assert usage["prompt_tokens"] == 2 * counted
