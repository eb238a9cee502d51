"""A turn: the reply whole or as a stream, stopped, made again, edited, and nothing overwritten."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.part7.conftest import StartChat
from tests.part7.servers import Chat, Event, Fake, events_of, text_of
from tests.waiting import wait_for

WORDS = " a river takes what the rain has left and gives it to the sea a river"


def test_a_reply_comes_whole_with_what_it_was_made_with(chat: Chat) -> None:
    conversation = chat.conversation()

    answer = chat.post(f"/conversations/{conversation}/messages", {"content": "hello"})

    assert answer.status_code == 201
    turn = answer.json()
    reply = turn["reply"]
    place = f"/api/v1/conversations/{conversation}/messages/{reply['id']}"
    assert answer.headers["Location"] == place
    assert chat.client.get(place).json() == reply
    assert reply["content"] == WORDS
    assert reply["status"] == "complete"
    assert reply["finish_reason"] == "stop"
    assert reply["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": 16,
        "total_tokens": 17,
        "estimated": False,
    }
    assert reply["config"]["model_name"] == "course-tutor"
    assert reply["parent_id"] == turn["message"]["id"]
    assert [turn["message"]["seq"], reply["seq"]] == [1, 2]


def test_a_stream_says_the_same_as_a_whole_reply(chat: Chat) -> None:
    conversation = chat.conversation()

    events = chat.stream(conversation)

    assert [event.name for event in events][:: len(events) - 1] == ["turn", "done"]
    assert text_of(events) == WORDS
    done = events[-1].data
    assert done["content"] == WORDS
    assert done["status"] == "complete"
    assert done == chat.message(conversation, done["id"])
    assert [e.id for e in events if e.name == "delta"][-1] == len(WORDS)


def test_the_model_is_told_what_was_said_before(chat: Chat, fake: Fake) -> None:
    config = chat.post(
        "/llm-configs",
        {"name": "brief", "model_name": "m", "system_prompt": "Be brief.", "temperature": 0.5},
    ).json()
    conversation = chat.conversation(llm_config_id=config["id"])
    chat.ask(conversation, "first")

    chat.ask(conversation, "second")

    asked = fake.exchanges[-1]
    assert asked.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": WORDS},
        {"role": "user", "content": "second"},
    ]
    assert asked.parameters["model"] == "m"
    assert asked.parameters["temperature"] == 0.5
    assert "max_tokens" not in asked.parameters


def test_a_reply_keeps_its_configuration_when_that_changes(chat: Chat) -> None:
    config = chat.post("/llm-configs", {"name": "one", "model_name": "m"}).json()
    conversation = chat.conversation(llm_config_id=config["id"])
    before = chat.ask(conversation)["reply"]

    chat.client.patch(f"/api/v1/llm-configs/{config['id']}", json={"temperature": 1.5})
    after = chat.ask(conversation)["reply"]

    assert chat.message(conversation, before["id"])["config"]["temperature"] is None
    assert after["config"]["temperature"] == 1.5


def test_who_leaves_may_come_back_to_the_same_stream(chat: Chat, fake: Fake) -> None:
    fake.does(rate=50, tokens=40)
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        reply = next(events).data["reply_id"]
        seen = [next(events) for _ in range(5)]

    rest = chat.follow(conversation, reply, after=seen[-1].id)

    assert text_of(seen) + text_of(rest) == rest[-1].data["content"]
    assert rest[-1].data["status"] == "complete"
    assert len(fake.exchanges) == 1


def test_a_reply_that_has_ended_can_be_followed_from_anywhere(chat: Chat) -> None:
    conversation = chat.conversation()
    reply = chat.ask(conversation)["reply"]["id"]

    assert text_of(chat.follow(conversation, reply)) == WORDS
    assert text_of(chat.follow(conversation, reply, after=8)) == WORDS[8:]
    assert text_of(chat.follow(conversation, reply, after=10_000)) == ""


def test_text_is_kept_while_it_streams(chat: Chat, fake: Fake) -> None:
    fake.does(rate=20, tokens=200)
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        reply = next(events).data["reply_id"]
        wait_for(lambda: len(chat.message(conversation, reply)["content"]) > 20)
        assert chat.message(conversation, reply)["status"] == "streaming"
    chat.post(f"/conversations/{conversation}/messages/{reply}/stop")


def test_a_stopped_reply_keeps_its_text_and_closes_the_model_server(chat: Chat, fake: Fake) -> None:
    fake.does(rate=50, tokens=1000)
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        reply = next(events).data["reply_id"]
        next(events)

        stopped = chat.post(f"/conversations/{conversation}/messages/{reply}/stop")
        done = list(events)[-1]

    assert stopped.status_code == 200
    assert stopped.json()["status"] == done.data["status"] == "stopped"
    assert WORDS.startswith(stopped.json()["content"][:20])
    assert stopped.json()["content"]
    assert stopped.json()["usage"]["estimated"]
    fake.wait_until_idle()
    assert fake.exchanges[-1].outcome == "closed by the client"
    assert fake.exchanges[-1].sent_tokens < 1000


def test_a_reply_is_stopped_before_its_first_token(chat: Chat, fake: Fake) -> None:
    fake.does(first_token=60)
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        reply = next(events).data["reply_id"]
        wait_for(lambda: fake.exchanges)

        stopped = chat.post(f"/conversations/{conversation}/messages/{reply}/stop").json()

    assert stopped["status"] == "stopped"
    assert stopped["content"] == ""
    fake.wait_until_idle()
    assert fake.exchanges[-1].outcome == "closed by the client"


def test_what_does_not_run_cannot_be_stopped(chat: Chat) -> None:
    conversation = chat.conversation()
    reply = chat.ask(conversation)["reply"]["id"]

    refused = chat.post(f"/conversations/{conversation}/messages/{reply}/stop")

    assert refused.status_code == 409
    assert "is complete: there is nothing to stop" in refused.json()["detail"]


def test_another_reply_stands_beside_the_old_one(chat: Chat) -> None:
    conversation = chat.conversation()
    turn = chat.ask(conversation)

    again = chat.post(
        f"/conversations/{conversation}/messages/{turn['reply']['id']}/regenerate"
    ).json()

    assert again["message"] == turn["message"]
    assert again["reply"]["parent_id"] == turn["message"]["id"]
    assert again["reply"]["seq"] == 3
    shown = chat.get(f"/conversations/{conversation}")
    assert [each["id"] for each in shown["messages"]] == [
        turn["message"]["id"],
        again["reply"]["id"],
    ]
    tree = chat.get(f"/conversations/{conversation}", show="tree")
    assert turn["reply"] in tree["messages"]


def test_a_branch_is_gone_back_to(chat: Chat, fake: Fake) -> None:
    conversation = chat.conversation()
    first = chat.ask(conversation, "one")
    chat.post(
        f"/conversations/{conversation}/messages/{first['message']['id']}/edit", {"content": "two"}
    )
    assert [m["content"] for m in fake.exchanges[-1].messages] == ["two"]

    chat.client.patch(
        f"/api/v1/conversations/{conversation}", json={"active_leaf_id": first["reply"]["id"]}
    )
    chat.ask(conversation, "three")

    assert [m["content"] for m in fake.exchanges[-1].messages] == ["one", WORDS, "three"]


def test_only_a_users_message_is_edited_and_only_a_reply_made_again(chat: Chat) -> None:
    conversation = chat.conversation()
    turn = chat.ask(conversation)
    base = f"/conversations/{conversation}/messages"

    edit = chat.post(f"{base}/{turn['reply']['id']}/edit", {"content": "x"})
    regenerate = chat.post(f"{base}/{turn['message']['id']}/regenerate")

    assert edit.status_code == regenerate.status_code == 422
    assert "only those can be edited" in edit.json()["detail"]
    assert "only those can be regenerated" in regenerate.json()["detail"]


def test_a_second_question_waits_for_the_first_ones_end(chat: Chat, fake: Fake) -> None:
    fake.does(rate=20, tokens=1000)
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        reply = next(events).data["reply_id"]

        refused = chat.post(f"/conversations/{conversation}/messages", {"content": "and?"})

    assert refused.status_code == 409
    assert f"reply {reply} is still running" in refused.json()["detail"]
    chat.post(f"/conversations/{conversation}/messages/{reply}/stop")
    assert chat.get(f"/conversations/{conversation}")["message_count"] == 2


class TestIdempotencyKey:
    def test_a_retry_gets_the_reply_that_is_there(self, chat: Chat, fake: Fake) -> None:
        path = f"/conversations/{chat.conversation()}/messages"
        first = chat.post(path, {"content": "hello"}, **{"Idempotency-Key": "k"})

        second = chat.post(path, {"content": "hello"}, **{"Idempotency-Key": "k"})

        assert first.status_code == 201
        assert second.status_code == 200
        assert second.headers["Idempotency-Replayed"] == "true"
        assert second.json() == first.json()
        assert len(fake.exchanges) == 1

    def test_a_retry_attaches_to_a_reply_that_is_running(self, chat: Chat, fake: Fake) -> None:
        fake.does(rate=50, tokens=30)
        conversation = chat.conversation()
        with chat.streaming(conversation, key="k") as events:
            reply = next(events).data["reply_id"]

        with chat.streaming(conversation, key="k") as events:
            again = list(events)

        assert again[0].data == {
            "message_id": again[0].data["message_id"],
            "reply_id": reply,
            "repeated": True,
        }
        assert text_of(again) == again[-1].data["content"]
        assert len(fake.exchanges) == 1

    def test_a_retry_needs_no_place_where_there_is_none(
        self, start_chat: StartChat, fake: Fake, gates: set[str]
    ) -> None:
        chat = start_chat(llm_max_running=1, llm_max_queued=0)
        fake.does(gates={0: "go"})
        conversation = chat.conversation()
        path = f"/conversations/{conversation}/messages"
        with chat.streaming(conversation, key="k") as events:
            reply = next(events).data["reply_id"]
            with chat.streaming(conversation, key="k") as again:
                assert next(again).data["reply_id"] == reply
            refused = chat.post(path, {"content": "hello"}, **{"Idempotency-Key": "new"})
            assert refused.status_code == 503
            gates.add("go")
            list(events)

    def test_duplicates_at_the_same_time_make_one_turn(self, chat: Chat, fake: Fake) -> None:
        fake.does(first_token=0.2)
        conversation = chat.conversation()
        path = f"/conversations/{conversation}/messages"
        statuses: list[int] = []

        def send() -> None:
            body = {"content": "hello"}
            statuses.append(chat.post(path, body, **{"Idempotency-Key": "k"}).status_code)

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(statuses) == [200] * 7 + [201]
        assert chat.get(f"/conversations/{conversation}")["message_count"] == 2
        assert len(fake.exchanges) == 1

    def test_the_key_of_another_request_is_refused(self, chat: Chat) -> None:
        path = f"/conversations/{chat.conversation()}/messages"
        chat.post(path, {"content": "hello"}, **{"Idempotency-Key": "k"})

        refused = chat.post(path, {"content": "bye"}, **{"Idempotency-Key": "k"})

        assert refused.status_code == 422
        assert "belongs to another request" in refused.json()["detail"]


class Branching:
    """A turn of one conversation, and two requests that begin a branch beside it."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.conversation = chat.conversation()
        turn = chat.ask(self.conversation)
        self.message, self.reply = turn["message"]["id"], turn["reply"]["id"]

    def request(self, way: str) -> tuple[str, dict[str, object]]:
        """Where to post, and what."""
        base = f"/conversations/{self.conversation}/messages"
        if way == "edit":
            return f"{base}/{self.message}/edit", {"content": "else"}
        return f"{base}/{self.reply}/regenerate", {}

    def post(self, way: str, key: str = "k") -> httpx2.Response:
        """Send it, for a whole reply."""
        path, body = self.request(way)
        return self.chat.post(path, body, **{"Idempotency-Key": key})

    @contextmanager
    def streaming(self, way: str, key: str = "k") -> Iterator[Iterator[Event]]:
        """Send it, for events."""
        path, body = self.request(way)
        with self.chat.client.stream(
            "POST",
            f"/api/v1{path}",
            json=body | {"stream": True},
            headers={"Idempotency-Key": key},
        ) as answer:
            yield events_of(answer.iter_lines())

    @property
    def count(self) -> int:
        """How many messages there are."""
        return int(self.chat.get(f"/conversations/{self.conversation}")["message_count"])


@pytest.fixture
def branching(chat: Chat) -> Branching:
    """With one turn so far."""
    return Branching(chat)


ADDED = {"edit": 2, "regenerate": 1}  # messages


@pytest.mark.parametrize("way", ADDED)
class TestIdempotencyKeyOfABranch:
    def test_a_retry_gets_the_reply_that_is_there(
        self, branching: Branching, fake: Fake, way: str
    ) -> None:
        first = branching.post(way)

        second = branching.post(way)

        assert first.status_code == 201
        assert "Idempotency-Replayed" not in first.headers
        assert second.status_code == 200
        assert second.headers["Idempotency-Replayed"] == "true"
        assert second.headers["Location"] == first.headers["Location"]
        assert second.json() == first.json()
        assert branching.count == 2 + ADDED[way]
        assert len(fake.exchanges) == 2

    def test_a_retry_attaches_to_a_reply_that_is_running(
        self, branching: Branching, fake: Fake, way: str
    ) -> None:
        fake.does(rate=50, tokens=30)
        with branching.streaming(way) as events:
            turn = next(events).data

        with branching.streaming(way) as events:
            again = list(events)

        assert again[0].data == turn | {"repeated": True}
        assert text_of(again) == again[-1].data["content"]
        assert branching.count == 2 + ADDED[way]
        assert len(fake.exchanges) == 2

    def test_duplicates_at_the_same_time_make_one_reply(
        self, branching: Branching, fake: Fake, way: str
    ) -> None:
        fake.does(first_token=0.2)
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(branching.post(way).status_code))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(statuses) == [200] * 7 + [201]
        assert branching.count == 2 + ADDED[way]
        assert len(fake.exchanges) == 2

    def test_a_retry_gets_its_own_reply_after_others_were_made(
        self, branching: Branching, way: str
    ) -> None:
        first = branching.post(way).json()
        base = f"/conversations/{branching.conversation}/messages"
        branching.chat.post(f"{base}/{first['reply']['id']}/regenerate")

        assert branching.post(way).json() == first

    def test_another_key_is_another_request(self, branching: Branching, way: str) -> None:
        first, second = branching.post(way, "one"), branching.post(way, "two")

        assert first.status_code == second.status_code == 201
        assert second.json()["reply"]["id"] != first.json()["reply"]["id"]
        assert branching.count == 2 + 2 * ADDED[way]


def test_a_key_belongs_to_one_kind_of_request_to_one_message(branching: Branching) -> None:
    base = f"/conversations/{branching.conversation}/messages"
    other = branching.chat.ask(branching.conversation, "other")
    edit, regenerate = (branching.request(way) for way in ("edit", "regenerate"))
    text = {"content": "else"}
    # All of these differ: in what is done, to which message, or in what is said.
    requests = [
        edit,
        regenerate,
        (base, text),
        (f"{base}/{other['message']['id']}/edit", text),
        (f"{base}/{other['reply']['id']}/regenerate", {}),
        (edit[0], {"content": "other"}),
    ]
    for key, (path, body) in enumerate(requests):
        assert branching.chat.post(path, body, **{"Idempotency-Key": f"{key}"}).is_success
    count = branching.count

    for key in range(len(requests)):
        for number, (path, body) in enumerate(requests):
            answer = branching.chat.post(path, body, **{"Idempotency-Key": f"{key}"})
            assert answer.status_code == (200 if number == key else 422), (key, path)
            assert number == key or "belongs to another request" in answer.json()["detail"]
    assert branching.count == count


class TestClientThatLeaves:
    def test_the_reply_goes_on(self, chat: Chat, fake: Fake) -> None:
        fake.does(rate=50, tokens=30)
        conversation = chat.conversation()
        with chat.streaming(conversation) as events:
            reply = next(events).data["reply_id"]

        ended = chat.wait_until_ended(conversation, reply)

        assert ended["status"] == "complete"
        assert fake.exchanges[-1].outcome == "finished"

    @pytest.mark.parametrize("whole", [True, False])
    def test_the_reply_ends_where_the_policy_says_so(
        self, start_chat: StartChat, fake: Fake, whole: bool
    ) -> None:
        chat = start_chat(on_disconnect="cancel")
        fake.does(rate=20, tokens=1000)
        conversation = chat.conversation()
        if whole:
            hasty = Chat(chat.port)
            hasty.client.timeout = 0.5
            with pytest.raises(Exception, match="timed out"):
                hasty.ask(conversation)
            hasty.client.close()
        else:
            with chat.streaming(conversation) as events:
                next(events)
        reply = chat.get(f"/conversations/{conversation}")["active_leaf_id"]

        ended = chat.wait_until_ended(conversation, reply)

        assert ended["status"] == "stopped"
        fake.wait_until_idle()
        assert fake.exchanges[-1].outcome == "closed by the client"

    def test_a_request_may_say_so_itself(self, chat: Chat, fake: Fake) -> None:
        fake.does(rate=20, tokens=1000)
        conversation = chat.conversation()
        with chat.streaming(conversation, on_disconnect="cancel") as events:
            reply = next(events).data["reply_id"]

        assert chat.wait_until_ended(conversation, reply)["status"] == "stopped"


def test_feedback_is_kept_and_taken_back(chat: Chat) -> None:
    conversation = chat.conversation()
    reply = chat.ask(conversation)["reply"]["id"]
    path = f"/api/v1/conversations/{conversation}/messages/{reply}/feedback"

    given = chat.client.put(path, json={"thumb": "down", "comment": "wrong"}).json()
    assert (given["thumb"], given["comment"]) == ("down", "wrong")

    chat.client.put(path, json={"thumb": None})
    taken = chat.message(conversation, reply)
    assert (taken["thumb"], taken["comment"]) == (None, None)


def test_a_conversation_that_goes_takes_its_running_reply_with_it(chat: Chat, fake: Fake) -> None:
    fake.does(rate=20, tokens=1000)
    conversation = chat.conversation()
    with chat.streaming(conversation) as events:
        next(events)
        next(events)
        gone = chat.client.delete(f"/api/v1/conversations/{conversation}")

    assert gone.status_code == 204
    assert chat.client.get(f"/api/v1/conversations/{conversation}").status_code == 404
    fake.wait_until_idle()
    assert fake.exchanges[-1].outcome == "closed by the client"
