"""The model server in trouble: what is tried again, what is given up, and what the client hears."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import orjson
import pytest
import uvicorn
from serve.core import llm

from tests.part7.conftest import StartChat
from tests.part7.servers import Chat, Fake, InThread, free_port, text_of
from tests.waiting import wait_for

WORDS = " a river takes what the rain has left and gives it to the sea a river"
PARTIAL = " a river takes what"  # the first four


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Where the database makes no difference, the quicker one."""
    return sqlite_url


def tell(fake: Fake, **script: Any) -> None:
    """Give a script; unlike `does`, begin to count its refusals again."""
    address = fake.url.replace("/v1", "/script")
    assert httpx2.put(address, json=script).status_code == 200


def refused_turn(chat: Chat, **settings: Any) -> tuple[httpx2.Response, Any]:
    """The answer to a turn that fails, and its reply."""
    conversation = chat.conversation()
    answer = chat.post(f"/conversations/{conversation}/messages", {"content": "hello"} | settings)
    assert answer.status_code >= 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer, chat.get(f"/conversations/{conversation}")["messages"][-1]


@pytest.fixture
def nowhere() -> str:
    """The address of a model server at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}/v1"


class TestNobodyListens:
    def test_the_client_is_told_and_the_reply_is_kept_as_failed(
        self, start_chat: StartChat, nowhere: str
    ) -> None:
        chat = start_chat(llm_base_url=nowhere)

        answer, reply = refused_turn(chat)

        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert f"no model server at {nowhere}" in answer.json()["detail"]
        assert reply["status"] == "failed"
        assert reply["error"] == {"kind": "away", "detail": answer.json()["detail"]}
        assert reply["content"] == ""
        assert reply["finished_at"] is not None

    def test_a_stream_says_so_as_an_event(self, start_chat: StartChat, nowhere: str) -> None:
        chat = start_chat(llm_base_url=nowhere)

        events = chat.stream(chat.conversation())

        assert [each.name for each in events] == ["turn", "error", "done"]
        assert (events[1].data["status"], events[1].data["kind"]) == (503, "away")
        assert events[2].data["status"] == "failed"

    def test_the_conversation_goes_on_when_it_is_back(self, chat: Chat, fake: Fake) -> None:
        conversation = chat.conversation()
        fake.stop()
        try:
            failed = chat.post(f"/conversations/{conversation}/messages", {"content": "one"})
        finally:
            fake.start()

        turn = chat.ask(conversation, "two")

        assert failed.status_code == 503
        assert turn["reply"]["status"] == "complete"
        # The failed reply has no text, so nothing is said of it.
        assert [each["content"] for each in fake.exchanges[-1].messages] == ["one", "two"]


class TestRetries:
    @pytest.mark.parametrize("status", [429, 500, 502, 503])
    def test_a_refusal_is_tried_again(self, start_chat: StartChat, fake: Fake, status: int) -> None:
        chat = start_chat(llm_retries=2)
        tell(fake, status=status, refusals=2)
        failures = chat.metric(failures_of(fake, status))

        reply = chat.ask(chat.conversation())["reply"]

        assert reply["status"] == "complete"
        assert reply["content"] == WORDS
        assert [each.outcome for each in fake.exchanges] == ["refused", "refused", "finished"]
        assert chat.metric(failures_of(fake, status)) - failures == 2

    def test_there_is_an_end_to_it(self, start_chat: StartChat, fake: Fake) -> None:
        chat = start_chat(llm_retries=1)
        tell(fake, status=500)

        answer, reply = refused_turn(chat)

        assert answer.status_code == 502
        assert answer.json()["detail"] == f"{fake.url} answers HTTP 500: the script says 500"
        assert reply["error"]["kind"] == "bad_answer"
        assert len(fake.exchanges) == 2

    @pytest.mark.parametrize("status", [429, 503])
    def test_one_who_is_busy_says_when_to_come_back(
        self, start_chat: StartChat, fake: Fake, status: int
    ) -> None:
        chat = start_chat(llm_retries=1)
        tell(fake, status=status, refusals=1, retry_after=1)
        conversation = chat.conversation()

        begun = time.monotonic()
        chat.ask(conversation)

        assert time.monotonic() - begun >= 1
        assert len(fake.exchanges) == 2

    def test_a_date_to_come_back_at_is_not_taken_for_seconds(
        self, start_chat: StartChat, fake: Fake
    ) -> None:
        chat = start_chat(llm_retries=1)
        tell(fake, status=503, refusals=1, retry_after="Fri, 31 Dec 2999 23:59:59 GMT")

        assert chat.ask(chat.conversation())["reply"]["status"] == "complete"
        assert len(fake.exchanges) == 2

    @pytest.mark.parametrize("status", [429, 503])
    def test_nobody_waits_longer_than_the_bound(
        self, start_chat: StartChat, fake: Fake, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        monkeypatch.setattr(llm, "LONGEST_PAUSE", 0.2)
        chat = start_chat(llm_retries=1)
        tell(fake, status=status, refusals=1, retry_after=10_000)
        conversation = chat.conversation()

        begun = time.monotonic()
        chat.ask(conversation)

        assert 0.2 <= time.monotonic() - begun < 5_000

    def test_there_is_none_after_the_first_token(self, start_chat: StartChat, fake: Fake) -> None:
        chat = start_chat(llm_retries=2)
        fake.does(cut_after=4, rate=20)

        answer, reply = refused_turn(chat)

        assert answer.status_code == 502
        assert reply["content"] == PARTIAL
        assert len(fake.exchanges) == 1

    def test_there_is_none_of_a_request_that_is_wrong(
        self, start_chat: StartChat, fake: Fake, other_fake: Fake
    ) -> None:
        chat = start_chat(llm_retries=2, llm_fallback_urls=other_fake.url, llm_breaker_failures=1)
        tell(fake, status=400)

        answer, reply = refused_turn(chat)

        assert answer.status_code == 502
        assert "HTTP 400: the script says 400" in answer.json()["detail"]
        assert reply["error"]["kind"] == "refused"
        assert len(fake.exchanges) == 1
        assert other_fake.exchanges == []
        assert chat.metric(breaker_of(fake)) == 0  # the server is well

    def test_who_waits_for_one_can_be_stopped(self, start_chat: StartChat, fake: Fake) -> None:
        chat = start_chat(llm_retries=1)
        tell(fake, status=429, refusals=1, retry_after=5)
        conversation = chat.conversation()
        with chat.streaming(conversation) as events:
            reply = next(events).data["reply_id"]
            wait_for(lambda: fake.exchanges)

            stopped = chat.post(f"/conversations/{conversation}/messages/{reply}/stop").json()

        assert stopped["status"] == "stopped"
        assert len(fake.exchanges) == 1


def failures_of(fake: Fake, status: int) -> str:
    kind = {429: "busy", 500: "bad_answer"}.get(status, "away")
    return f'chat_model_failures_total{{endpoint="{fake.url}",kind="{kind}"}}'


def breaker_of(fake: Fake) -> str:
    return f'chat_breaker_open{{endpoint="{fake.url}"}}'


@pytest.fixture
def other_fake() -> Iterator[Fake]:
    """A second model server."""
    other = Fake()
    yield other
    other.stop()


class TestFallback:
    def test_the_next_one_is_asked_when_nobody_listens(
        self, start_chat: StartChat, fake: Fake, nowhere: str
    ) -> None:
        chat = start_chat(llm_base_url=nowhere, llm_fallback_urls=fake.url)

        assert chat.ask(chat.conversation())["reply"]["content"] == WORDS

    def test_they_are_asked_in_their_order(
        self, start_chat: StartChat, fake: Fake, other_fake: Fake, nowhere: str
    ) -> None:
        fallbacks = f"{other_fake.url},{nowhere}"
        chat = start_chat(llm_fallback_urls=fallbacks, llm_retries=1)
        conversation = chat.conversation()
        chat.ask(conversation)
        assert (len(fake.exchanges), len(other_fake.exchanges)) == (1, 0)

        tell(fake, status=503)
        chat.ask(conversation)

        assert (len(fake.exchanges), len(other_fake.exchanges)) == (3, 1)

    def test_one_who_is_slow_is_not_asked_twice(
        self, start_chat: StartChat, fake: Fake, other_fake: Fake
    ) -> None:
        chat = start_chat(
            llm_fallback_urls=other_fake.url, llm_retries=3, llm_first_token_seconds=0.3
        )
        fake.does(first_token=60)

        assert chat.ask(chat.conversation())["reply"]["status"] == "complete"
        assert (len(fake.exchanges), len(other_fake.exchanges)) == (1, 1)


class TestSlowModel:
    def test_a_first_token_that_does_not_come(self, start_chat: StartChat, fake: Fake) -> None:
        chat = start_chat(llm_first_token_seconds=0.2)
        fake.does(first_token=60)

        answer, reply = refused_turn(chat)

        assert answer.status_code == 504
        assert answer.json()["detail"] == f"{fake.url} gave no token within 0.2 s"
        assert reply["error"]["kind"] == "slow"
        fake.wait_until_idle()
        assert fake.exchanges[-1].outcome == "closed by the client"

    def test_an_answer_that_stands_still(self, start_chat: StartChat, fake: Fake) -> None:
        chat = start_chat(llm_idle_seconds=0.3, llm_first_token_seconds=30)
        fake.does(hang_after=4)

        answer, reply = refused_turn(chat)

        assert answer.status_code == 504
        assert answer.json()["detail"] == f"{fake.url} sent nothing for 0.3 s"
        assert (reply["status"], reply["content"]) == ("failed", PARTIAL)
        assert reply["usage"]["estimated"]
        fake.wait_until_idle()
        assert fake.exchanges[-1].outcome == "closed by the client"

    def test_a_slow_but_steady_answer_is_no_trouble(
        self, start_chat: StartChat, fake: Fake
    ) -> None:
        chat = start_chat(llm_idle_seconds=0.5, llm_first_token_seconds=0.5)
        fake.does(rate=10, tokens=8)  # 0.8 s in all, and never 0.5 s without a token

        assert chat.ask(chat.conversation())["reply"]["status"] == "complete"


class TestBrokenAnswer:
    @pytest.mark.parametrize(
        ("script", "kind", "says"),
        [
            ({"cut_after": 4, "rate": 20}, "cut", "broke off"),
            ({"malformed_after": 4, "rate": 20}, "bad_answer", "a chunk that cannot be read"),
        ],
    )
    def test_the_text_so_far_is_kept(
        self, chat: Chat, fake: Fake, script: dict[str, Any], kind: str, says: str
    ) -> None:
        fake.does(**script)

        events = chat.stream(chat.conversation())

        assert text_of(events) == PARTIAL
        assert [each.name for each in events[-2:]] == ["error", "done"]
        error, reply = events[-2].data, events[-1].data
        assert (error["status"], error["kind"]) == (502, kind)
        assert says in error["detail"]
        assert (reply["status"], reply["content"]) == ("failed", PARTIAL)
        assert reply["error"] == {"kind": kind, "detail": error["detail"]}
        assert (reply["usage"]["completion_tokens"], reply["usage"]["estimated"]) == (5, True)

    def test_text_that_comes_together_with_the_fault_is_kept_too(
        self, start_chat: StartChat
    ) -> None:
        with model_that_says(
            delta(" a"), delta(" river") + delta(" takes") + b"data: {\n\n"
        ) as url:
            _, reply = refused_turn(start_chat(llm_base_url=url))

        assert (reply["status"], reply["content"]) == ("failed", " a river takes")

    def test_an_error_that_comes_instead_of_text(self, start_chat: StartChat) -> None:
        error = b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
        with model_that_says(delta(" a river"), error) as url:
            answer, reply = refused_turn(start_chat(llm_base_url=url))

        assert answer.status_code == 502
        assert answer.json()["detail"] == f"{url}: out of memory"
        assert (reply["status"], reply["content"]) == ("failed", " a river")

    @pytest.mark.parametrize(
        "said",
        [
            b"data: 7\n\n",
            b"data: {}\n\n",
            b'data: {"choices": [{}]}\n\n',
            b'data: {"choices": [{"delta": {"content": ["a", "list"]}}]}\n\n',
            b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
            b'data: {"error": "a text"}\n\n',
            b"data: [DONE]\n\n",
            b"<html>welcome</html>",
            b"",
        ],
    )
    def test_what_is_no_answer_at_all(self, start_chat: StartChat, said: bytes) -> None:
        with model_that_says(said) as url:
            chat = start_chat(llm_base_url=url)
            answer, reply = refused_turn(chat)
            second, _ = refused_turn(chat)  # the first one has left everything in order

        assert answer.status_code == second.status_code == 502
        assert reply["status"] == "failed"
        assert url in reply["error"]["detail"]


class TestOddAnswer:
    """Answers that are unusual: they are kept, and nobody waits for ever."""

    def test_tokens_that_nobody_counted_are_estimated(self, chat: Chat, fake: Fake) -> None:
        fake.does(usage=False)

        usage = chat.ask(chat.conversation())["reply"]["usage"]

        assert usage["estimated"]
        assert usage["completion_tokens"] == 18  # a quarter of the characters
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert usage["prompt_tokens"] > 0

    @pytest.mark.parametrize(
        "usage",
        [
            {"prompt_tokens": "many", "completion_tokens": 2, "total_tokens": 2},
            {"prompt_tokens": 1, "completion_tokens": -2, "total_tokens": -1},
            {"prompt_tokens": [1], "completion_tokens": None},
            ["prompt_tokens"],
            7,
        ],
    )
    def test_a_count_that_is_none_is_estimated(self, start_chat: StartChat, usage: Any) -> None:
        counted = {"choices": [], "usage": usage}
        with model_that_says(delta("hello", "stop"), chunk(counted), b"data: [DONE]\n\n") as url:
            reply = start_then_ask(start_chat, url)

        assert (reply["status"], reply["content"]) == ("complete", "hello")
        assert reply["usage"]["estimated"]

    @pytest.mark.parametrize("reason", ["x" * 300, 7, {"type": "stop"}])
    @pytest.mark.usefixtures("postgresql_too")
    def test_a_reason_that_no_column_holds(self, start_chat: StartChat, reason: Any) -> None:
        with model_that_says(delta("hello", reason)) as url:
            reply = start_then_ask(start_chat, url)

        assert (reply["status"], reply["content"]) == ("complete", "hello")
        assert len(reply["finish_reason"]) <= 50

    @pytest.mark.usefixtures("postgresql_too")
    def test_a_character_that_postgresql_cannot_store(self, start_chat: StartChat) -> None:
        with model_that_says(delta("one\0two"), delta("", "stop")) as url:
            reply = start_then_ask(start_chat, url)

        assert (reply["status"], reply["content"]) == (
            "complete",
            "one\N{REPLACEMENT CHARACTER}two",
        )

    @pytest.fixture(params=["sqlite", "postgresql"])
    def postgresql_too(self, request: pytest.FixtureRequest) -> str:
        """What is stored, on both databases."""
        url: str = request.getfixturevalue(f"{request.param}_url")
        return url

    @pytest.fixture
    def database_url(self, request: pytest.FixtureRequest) -> str:
        both = "postgresql_too" in request.fixturenames
        url: str = request.getfixturevalue("postgresql_too" if both else "sqlite_url")
        return url


def start_then_ask(start_chat: StartChat, url: str) -> Any:
    chat = start_chat(llm_base_url=url)
    return chat.ask(chat.conversation())["reply"]


def chunk(values: Any) -> bytes:
    return b"data: " + orjson.dumps(values) + b"\n\n"


def delta(text: str, reason: Any = None) -> bytes:
    return chunk({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


@contextmanager
def model_that_says(*pieces: bytes) -> Iterator[str]:
    """The address of a model server that answers every request with these bytes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0.05)  # they arrive one by one; if not, the tests hold as well
        await send({"type": "http.response.body", "body": b""})

    port = free_port()
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="off")
    running = InThread(uvicorn.Server(config))
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        running.stop()


class TestBreaker:
    SECONDS = 1.0

    @pytest.fixture
    def chat(self, start_chat: StartChat) -> Chat:
        return start_chat(llm_breaker_failures=2, llm_breaker_seconds=self.SECONDS)

    def opened(self, chat: Chat, fake: Fake) -> float:
        """When the breaker has opened."""
        tell(fake, status=503)
        for _ in range(2):
            refused_turn(chat)
        return time.monotonic()

    def wait_until_half_open(self, opened: float) -> None:
        wait_for(lambda: time.monotonic() > opened + self.SECONDS)

    def test_it_opens_after_failures_and_answers_at_once(
        self, start_chat: StartChat, fake: Fake
    ) -> None:
        chat = start_chat(llm_breaker_failures=2, llm_breaker_seconds=10_000)
        assert chat.metric(breaker_of(fake)) == 0
        self.opened(chat, fake)
        assert chat.metric(breaker_of(fake)) == 1
        tell(fake, first_token=0)

        answer, reply = refused_turn(chat)

        assert answer.status_code == 503
        assert "is asked now: each of them has failed again and again" in answer.json()["detail"]
        assert reply["error"]["kind"] == "away"
        assert len(fake.exchanges) == 2

    def test_one_success_between_failures_keeps_it_closed(self, chat: Chat, fake: Fake) -> None:
        for _ in range(3):
            tell(fake, status=503, refusals=1)
            refused_turn(chat)
            chat.ask(chat.conversation())

        assert chat.metric(breaker_of(fake)) == 0

    def test_after_a_while_one_call_decides(self, chat: Chat, fake: Fake) -> None:
        opened = self.opened(chat, fake)
        tell(fake, first_token=0.5)
        self.wait_until_half_open(opened)
        trying = threading.Thread(target=chat.ask, args=(chat.conversation(),))
        trying.start()
        wait_for(lambda: len(fake.exchanges) == 3)

        answer, _ = refused_turn(chat)  # while that one has no token yet
        trying.join()

        assert answer.status_code == 503
        assert len(fake.exchanges) == 3
        assert chat.metric(breaker_of(fake)) == 0
        chat.ask(chat.conversation())
        assert len(fake.exchanges) == 4

    def test_it_opens_again_when_that_call_fails(self, chat: Chat, fake: Fake) -> None:
        self.wait_until_half_open(self.opened(chat, fake))
        refused_turn(chat)
        assert len(fake.exchanges) == 3
        assert chat.metric(breaker_of(fake)) == 1

        refused_turn(chat)

        assert len(fake.exchanges) == 3

    def test_a_call_that_was_stopped_decides_nothing(self, chat: Chat, fake: Fake) -> None:
        opened = self.opened(chat, fake)
        fake.does(first_token=60)
        self.wait_until_half_open(opened)
        conversation = chat.conversation()
        with chat.streaming(conversation) as events:
            reply = next(events).data["reply_id"]
            wait_for(lambda: len(fake.exchanges) == 3)
            chat.post(f"/conversations/{conversation}/messages/{reply}/stop")
        fake.does()

        assert chat.ask(chat.conversation())["reply"]["status"] == "complete"

    def test_each_server_has_its_own(
        self, start_chat: StartChat, fake: Fake, other_fake: Fake
    ) -> None:
        chat = start_chat(
            llm_breaker_failures=2, llm_breaker_seconds=10_000, llm_fallback_urls=other_fake.url
        )
        tell(fake, status=500)

        replies = [chat.ask(chat.conversation())["reply"]["status"] for _ in range(4)]

        assert replies == ["complete"] * 4
        assert (len(fake.exchanges), len(other_fake.exchanges)) == (2, 4)
        assert chat.metric(breaker_of(fake)) == 1
        assert chat.metric(breaker_of(other_fake)) == 0


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_before_the_first_token_closes_the_model_servers_side(
    start_chat: StartChat, fake: Fake, stream: bool
) -> None:
    chat = start_chat(on_disconnect="cancel")
    fake.does(first_token=60)
    conversation = chat.conversation()
    hasty = Chat(chat.port)
    hasty.client.timeout = httpx2.Timeout(5, read=0.5)
    with pytest.raises(httpx2.ReadTimeout):
        hasty.stream(conversation) if stream else hasty.ask(conversation)
    hasty.client.close()

    fake.wait_until_idle()

    assert fake.exchanges[-1].outcome == "closed by the client"
    reply = chat.get(f"/conversations/{conversation}")["active_leaf_id"]
    assert chat.wait_until_ended(conversation, reply)["status"] == "stopped"


class TestHeaders:
    def ask(self, chat: Chat, **headers: str) -> httpx2.Response:
        path = f"/conversations/{chat.conversation()}/messages"
        return chat.post(path, {"content": "hello"}, **headers)

    def test_the_request_id_is_carried_to_the_model_server(self, chat: Chat, fake: Fake) -> None:
        answer = self.ask(chat, **{"X-Request-ID": "lesson-7.1:a"})

        assert answer.headers["X-Request-ID"] == "lesson-7.1:a"
        assert fake.exchanges[-1].headers["x-request-id"] == "lesson-7.1:a"

    @pytest.mark.parametrize("given", [None, "", "two words", "x" * 101, '{"a": 1}'])
    def test_a_request_without_a_usable_one_gets_one(
        self, chat: Chat, fake: Fake, given: str | None
    ) -> None:
        made = self.ask(chat, **({} if given is None else {"X-Request-ID": given}))

        name = made.headers["X-Request-ID"]
        assert len(name) == 16
        assert fake.exchanges[-1].headers["x-request-id"] == name

    def test_every_answer_has_one(self, chat: Chat) -> None:
        names = {
            chat.client.get(path).headers["X-Request-ID"]
            for path in ("/live", "/api/v1/conversations/999", "/nowhere", "/metrics")
        }

        assert len(names) == 4

    def test_the_model_servers_key_is_sent_if_there_is_one(
        self, start_chat: StartChat, fake: Fake
    ) -> None:
        self.ask(start_chat())
        self.ask(start_chat(llm_api_key="their-key"))

        without, with_key = fake.exchanges
        assert "authorization" not in without.headers
        assert with_key.headers["authorization"] == "Bearer their-key"


class TestManyAtOnce:
    """One runs, one waits, and a third is told so."""

    @pytest.fixture
    def chat(self, start_chat: StartChat) -> Chat:
        return start_chat(llm_max_running=1, llm_max_queued=1)

    @contextmanager
    def one_runs_and_one_waits(
        self, chat: Chat, fake: Fake
    ) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """The conversation and the reply of each."""
        fake.does(first_token=60)
        with ExitStack() as streams:
            turns = []
            for _ in range(2):
                conversation = chat.conversation()
                events = streams.enter_context(chat.streaming(conversation))
                turns.append((conversation, next(events).data["reply_id"]))
                wait_for(lambda: fake.exchanges)
            yield turns[0], turns[1]

    def stop(self, chat: Chat, turn: tuple[int, int]) -> Any:
        return chat.post(f"/conversations/{turn[0]}/messages/{turn[1]}/stop").json()

    def test_the_third_is_refused_and_leaves_nothing(self, chat: Chat, fake: Fake) -> None:
        third = chat.conversation()
        refusals = chat.metric("chat_generations_refused_total")
        with self.one_runs_and_one_waits(chat, fake) as (first, second):
            assert chat.metric("chat_generations_running") == 1
            assert chat.metric("chat_generations_queued") == 1

            refused = chat.post(f"/conversations/{third}/messages", {"content": "hello"})

            assert refused.status_code == 503
            assert refused.headers["Retry-After"] == "2"
            assert refused.json()["detail"] == "1 replies are running and 1 wait; try again"
            shown = chat.get(f"/conversations/{third}", show="tree")
            assert (shown["message_count"], shown["messages"]) == (0, [])
            assert shown["title"] is None
            assert chat.metric("chat_generations_refused_total") - refusals == 1
            self.stop(chat, second)
            self.stop(chat, first)
        assert chat.metric("chat_generations_running") == 0
        assert chat.metric("chat_generations_queued") == 0

    def test_the_second_runs_when_the_first_has_ended(self, chat: Chat, fake: Fake) -> None:
        with self.one_runs_and_one_waits(chat, fake) as (first, second):
            assert len(fake.exchanges) == 1
            fake.does()
            self.stop(chat, first)

            ended = chat.wait_until_ended(*second)

        assert (ended["status"], ended["content"]) == ("complete", WORDS)

    def test_the_second_can_be_stopped_while_it_waits(self, chat: Chat, fake: Fake) -> None:
        with self.one_runs_and_one_waits(chat, fake) as (first, second):
            stopped = self.stop(chat, second)
            assert chat.message(*first)["status"] == "streaming"
            third = chat.conversation()
            with chat.streaming(third) as events:  # there is a place in the queue again
                reply = next(events).data["reply_id"]
                assert chat.message(third, reply)["status"] == "streaming"
                self.stop(chat, first)
                self.stop(chat, (third, reply))

        assert (stopped["status"], stopped["content"]) == ("stopped", "")
        assert all(each.messages for each in fake.exchanges)
        assert len(fake.exchanges) <= 2

    def test_all_places_are_free_again_after_many_turns(self, chat: Chat, fake: Fake) -> None:
        fake.does(first_token=0.05)
        conversations = [chat.conversation() for _ in range(8)]
        statuses: list[int] = []

        def ask(conversation: int) -> None:
            path = f"/conversations/{conversation}/messages"
            statuses.append(chat.post(path, {"content": "hello"}).status_code)

        threads = [threading.Thread(target=ask, args=(each,)) for each in conversations]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert set(statuses) == {201, 503}
        for conversation in conversations:
            assert chat.get(f"/conversations/{conversation}")["message_count"] in {0, 2}
        assert chat.ask(conversations[0])["reply"]["status"] == "complete"
