"""Every turn is a trace in a real MLflow, and MLflow is never in the way."""

import signal
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx2
import mlflow
import pytest
from mlflow.entities import Trace
from mlflow.exceptions import MlflowException
from serve.core import genai as names
from serve.core import mlflow as sending
from serve.core import mlflow_api

from tests.conftest import Mlflow, StartProxy
from tests.faults import Proxy
from tests.part7.conftest import StartChat, StartProcess
from tests.part7.servers import KEY, Chat, Fake, chat_in_thread
from tests.waiting import wait_for

HELLO = {"model": "course-tutor", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces are sent more often than every second."""
    monkeypatch.setattr(sending, "SEND_SECONDS", 0.05)


@pytest.fixture(scope="module")
def client(mlflow_server: Mlflow) -> mlflow.MlflowClient:
    """What reads the traces."""
    return mlflow.MlflowClient(mlflow_server.uri)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Which database it is makes no difference here."""
    return sqlite_url


@pytest.fixture
def traced(start_chat: StartChat, mlflow_server: Mlflow) -> StartChat:
    """A function that runs a chat server whose traces go to MLflow."""

    def start(**settings: Any) -> Chat:
        return start_chat(**({"mlflow_tracking_uri": mlflow_server.uri} | settings))

    return start


def trace_of(client: mlflow.MlflowClient, trace_id: str | None) -> Trace:
    """A trace, when it has come."""
    assert trace_id is not None
    found: list[Trace] = []

    def has_come() -> bool:
        try:
            found.append(client.get_trace(trace_id))
        except MlflowException as exc:
            if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        return bool(found)

    wait_for(has_come)
    return found[-1]


def span(trace: Trace, name: str) -> Any:
    """The one span of that name."""
    (found,) = (each for each in trace.data.spans if each.name == name)
    return found


def newest(client: mlflow.MlflowClient, name: str, request_id: str) -> Trace:
    """The trace of a request that left no message."""
    wait_for(lambda: client.get_experiment_by_name(mlflow_api.EXPERIMENT))
    experiment = client.get_experiment_by_name(mlflow_api.EXPERIMENT)
    assert experiment is not None
    found: list[Trace] = []

    def has_come() -> bool:
        traces = client.search_traces(locations=[experiment.experiment_id], max_results=50)
        found.extend(
            each
            for each in traces
            if any(one.attributes.get(names.REQUEST_ID) == request_id for one in each.data.spans)
        )
        return bool(found)

    wait_for(has_come)
    assert found[0].info.tags["mlflow.traceName"] == name
    return found[0]


class TestOutcomes:
    def test_a_complete_reply_is_a_trace_with_the_names_of_the_convention(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        chat = traced()
        fake.does(tokens=4)
        config = chat.post(
            "/llm-configs",
            {
                "name": "terse",
                "model_name": "small",
                "system_prompt": "Be brief.",
                "temperature": 0.5,
                "max_tokens": 9,
                "stop": ["END"],
            },
        ).json()
        conversation = chat.conversation(llm_config_id=config["id"])

        turn = chat.ask(conversation, "강물은 어디로?")

        reply = turn["reply"]
        trace = trace_of(client, reply["trace_id"])
        assert trace.info.state == "OK"
        assert "강물은 어디로?" in trace.info.request_preview
        assert trace.info.tags["mlflow.traceName"] == "turn"
        assert trace.info.tags["outcome"] == "complete"
        assert trace.info.trace_metadata["mlflow.trace.session"] == str(conversation)
        root = span(trace, "turn")
        assert root.parent_id is None
        assert (root.inputs, root.outputs) == ("강물은 어디로?", reply["content"])
        assert root.attributes["chat.reply.id"] == reply["id"]
        assert root.attributes["chat.message.id"] == turn["message"]["id"]
        call = span(trace, "chat small")
        assert call.parent_id == root.span_id
        assert call.span_type == "CHAT_MODEL"
        expected = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "small",
            "gen_ai.request.stream": True,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": 9,
            "gen_ai.request.stop_sequences": ["END"],
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": reply["usage"]["prompt_tokens"],
            "gen_ai.usage.output_tokens": 4,
            "server.address": "127.0.0.1",
            "server.port": fake.port,
        }
        assert expected.items() <= call.attributes.items()
        assert 0 < call.attributes["gen_ai.response.time_to_first_chunk"] < 300
        said = [
            (each["role"], each["parts"][0]["content"])
            for each in call.attributes["gen_ai.input.messages"]
        ]
        assert said == [("system", "Be brief."), ("user", "강물은 어디로?")]
        (answer,) = call.attributes["gen_ai.output.messages"]
        assert answer["parts"] == [{"type": "text", "content": reply["content"]}]
        assert answer["finish_reason"] == "stop"

    def test_a_stopped_reply_is_a_trace_of_what_it_had(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        chat = traced()
        fake.does(hang_after=3)
        conversation = chat.conversation()
        with chat.streaming(conversation) as events:
            reply = next(events).data["reply_id"]
            next(event for event in events if event.name == "delta")
            chat.post(f"/conversations/{conversation}/messages/{reply}/stop")

        ended = chat.message(conversation, reply)
        trace = trace_of(client, ended["trace_id"])
        assert trace.info.tags["outcome"] == "stopped"
        assert trace.info.state == "OK"
        assert span(trace, "turn").outputs == ended["content"] != ""
        assert span(trace, "chat course-tutor").attributes["error.type"] == "CancelledError"

    @pytest.mark.parametrize(
        ("script", "kind"),
        [({"status": 500}, "bad_answer"), ({"cut_after": 2, "tokens": 9}, "cut")],
    )
    def test_a_failed_reply_is_a_trace_that_says_why(
        self,
        traced: StartChat,
        fake: Fake,
        client: mlflow.MlflowClient,
        script: dict[str, Any],
        kind: str,
    ) -> None:
        chat = traced()
        fake.does(**script)
        conversation = chat.conversation()
        assert chat.post(f"/conversations/{conversation}/messages", {"content": "x"}).is_error

        (_, reply) = chat.get(f"/conversations/{conversation}")["messages"]
        assert reply["status"] == "failed"
        trace = trace_of(client, reply["trace_id"])
        assert trace.info.state == "ERROR"
        root = span(trace, "turn")
        assert root.attributes["error.type"] == kind
        assert root.status.description == reply["error"]["detail"]
        assert span(trace, "chat course-tutor").attributes["error.type"] == kind

    def test_a_reply_that_the_servers_end_interrupts_is_a_trace(
        self,
        fake: Fake,
        database_url: str,
        client: mlflow.MlflowClient,
        mlflow_server: Mlflow,
        start_chat: StartChat,
    ) -> None:
        fake.does(hang_after=2)
        with chat_in_thread(fake, database_url, mlflow_tracking_uri=mlflow_server.uri) as chat:
            conversation = chat.conversation()
            with chat.streaming(conversation) as events:
                reply = next(events).data["reply_id"]
                next(event for event in events if event.name == "delta")

        again = start_chat()
        ended = again.message(conversation, reply)
        assert ended["status"] == "interrupted"
        trace = trace_of(client, ended["trace_id"])
        assert trace.info.tags["outcome"] == "interrupted"
        assert trace.info.state == "ERROR"

    def test_a_reply_whose_server_was_killed_is_a_trace_by_the_next_one(
        self,
        start_process: StartProcess,
        fake: Fake,
        client: mlflow.MlflowClient,
        mlflow_server: Mlflow,
    ) -> None:
        fake.does(hang_after=3)
        chat = start_process(MLFLOW_TRACKING_URI=mlflow_server.uri)
        conversation = chat.conversation()
        with chat.streaming(conversation, "왜?") as events:
            reply = next(events).data["reply_id"]
            wait_for(lambda: chat.message(conversation, reply)["content"])
            chat.kill()
        chat.start()

        ended = chat.message(conversation, reply)
        assert ended["status"] == "interrupted"
        trace = trace_of(client, ended["trace_id"])
        assert trace.info.state == "ERROR"
        root = span(trace, "turn")
        assert (root.inputs, root.outputs) == ("왜?", ended["content"])
        assert trace.info.trace_metadata["mlflow.trace.session"] == str(conversation)

    def test_attempts_that_failed_are_events_of_the_call(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        chat = traced(llm_retries=1)
        fake.does(status=500, refusals=1)

        reply = chat.ask(chat.conversation())["reply"]

        assert reply["status"] == "complete"
        call = span(trace_of(client, reply["trace_id"]), "chat course-tutor")
        (event,) = call.events
        assert event.name == "attempt failed"
        assert event.attributes["error.type"] == "bad_answer"

    def test_what_takes_long_beside_the_model_is_seen(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient, gates: set[str]
    ) -> None:
        chat = traced(llm_max_running=1)
        fake.does(gates={0: "go"})
        first, second = chat.conversation(), chat.conversation()
        with chat.streaming(first) as one, chat.streaming(second) as other:
            next(one)
            reply = next(other).data["reply_id"]
            time.sleep(0.1)
            gates.add("go")
            list(one)
            list(other)

        trace = trace_of(client, chat.message(second, reply)["trace_id"])
        waited = span(trace, "wait for a place")
        assert waited.end_time_ns - waited.start_time_ns >= 100_000_000

    def test_the_model_server_is_told_where_its_spans_belong(
        self, traced: StartChat, fake: Fake
    ) -> None:
        chat = traced()

        reply = chat.ask(chat.conversation())["reply"]

        (asked,) = fake.exchanges
        version, trace_id, span_id, flags = asked.headers["traceparent"].split("-")
        assert (version, f"tr-{trace_id}", flags) == ("00", reply["trace_id"], "01")
        assert len(span_id) == 16

    def test_without_content_nothing_that_was_said_leaves_the_server(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        chat = traced(trace_content=False)
        fake.does(tokens=3)

        turn = chat.ask(chat.conversation(), "a secret")

        trace = trace_of(client, turn["reply"]["trace_id"])
        whole = trace.to_json()
        assert "secret" not in whole
        assert turn["reply"]["content"] not in whole
        assert span(trace, "chat course-tutor").attributes["gen_ai.usage.output_tokens"] == 3

    def test_without_content_no_error_and_no_comment_is_told(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        chat = traced(trace_content=False)
        fake.does(status=500)
        conversation = chat.conversation()
        assert chat.post(f"/conversations/{conversation}/messages", {"content": "x"}).is_error
        (_, reply) = chat.get(f"/conversations/{conversation}")["messages"]
        TestFeedback().give(chat, reply, thumb="down", comment="a secret")

        wait_for(lambda: trace_of(client, reply["trace_id"]).info.assessments)
        trace = trace_of(client, reply["trace_id"])
        (assessment,) = trace.info.assessments
        assert assessment.rationale is None
        assert span(trace, "turn").status.description == "bad_answer"
        assert reply["error"]["detail"] not in trace.to_json()

    def test_long_texts_are_cut(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        chat = traced(llm_context_tokens=1_000_000)
        fake.does(tokens=2)

        reply = chat.ask(chat.conversation(), "가" * 100_000)["reply"]

        trace = trace_of(client, reply["trace_id"])
        assert len(span(trace, "turn").inputs) == names.LONGEST_TEXT + 1
        (asked,) = span(trace, "chat course-tutor").attributes["gen_ai.input.messages"]
        assert len(asked["parts"][0]["content"]) == names.LONGEST_TEXT + 1

    def test_without_mlflow_there_are_no_traces(self, start_chat: StartChat) -> None:
        chat = start_chat(mlflow_tracking_uri="")

        assert chat.ask(chat.conversation())["reply"]["trace_id"] is None


class TestOpenaiProtocol:
    def ask(self, chat: Chat, name: str, **more: Any) -> Any:
        return chat.client.post(
            "/v1/chat/completions",
            json=HELLO | more,
            headers={"Authorization": "Bearer mykey", "X-Request-ID": name},
        )

    def test_an_answer_that_nobody_keeps_is_a_trace(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        fake.does(tokens=3)
        for stream in (False, True):
            name = f"passing-{stream}-{time.time_ns()}"
            assert self.ask(traced(), name, stream=stream).status_code == 200

            trace = newest(client, "completion", name)
            assert trace.info.tags["outcome"] == "complete"
            assert span(trace, "chat course-tutor").attributes["gen_ai.usage.output_tokens"] == 3

    def test_one_that_fails_is_a_trace_that_says_why(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        fake.does(status=500)
        name = f"failing-{time.time_ns()}"
        assert self.ask(traced(), name).status_code == 502

        trace = newest(client, "completion", name)
        assert (trace.info.state, trace.info.tags["outcome"]) == ("ERROR", "failed")

    def test_one_that_breaks_off_in_a_stream_is_a_trace_that_says_why(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        fake.does(cut_after=2, tokens=9)
        name = f"cut-{time.time_ns()}"
        assert self.ask(traced(), name, stream=True).status_code == 200

        trace = newest(client, "completion", name)
        assert (trace.info.state, trace.info.tags["outcome"]) == ("ERROR", "failed")
        assert span(trace, "completion").outputs != ""

    def test_one_whose_client_leaves_is_a_trace_of_what_had_come(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient
    ) -> None:
        fake.does(hang_after=2)
        chat = traced()
        name = f"left-{time.time_ns()}"
        with chat.client.stream(
            "POST",
            "/v1/chat/completions",
            json=HELLO | {"stream": True},
            headers={"Authorization": "Bearer mykey", "X-Request-ID": name},
        ) as answer:
            next(line for line in answer.iter_lines() if "content" in line)
        fake.wait_until_idle()

        assert newest(client, "completion", name).info.tags["outcome"] == "stopped"
        wait_for(lambda: chat.metric("chat_generations_running") == 0)


class TestFeedback:
    def give(self, chat: Chat, reply: dict[str, Any], **feedback: str | None) -> None:
        place = f"/api/v1/conversations/{reply['conversation_id']}/messages/{reply['id']}/feedback"
        assert chat.client.put(place, json=feedback).status_code == 200

    def test_it_is_attached_changed_and_taken_back(
        self, traced: StartChat, client: mlflow.MlflowClient
    ) -> None:
        chat = traced()
        reply = chat.ask(chat.conversation())["reply"]

        def attached() -> list[tuple[str, object, str | None]]:
            known = trace_of(client, reply["trace_id"]).info.assessments
            return [(each.name, each.feedback.value, each.rationale) for each in known]

        self.give(chat, reply, thumb="down", comment="too long")
        wait_for(lambda: attached() == [("thumb", False, "too long")], attached)
        self.give(chat, reply, thumb="up")
        wait_for(lambda: attached() == [("thumb", True, None)], attached)
        self.give(chat, reply, thumb=None, comment="더 짧게")
        wait_for(lambda: attached() == [("comment", "더 짧게", None)], attached)
        self.give(chat, reply, thumb=None)
        wait_for(lambda: attached() == [], attached)

    def test_of_a_reply_that_streams_it_is_attached_when_there_is_a_trace(
        self, traced: StartChat, fake: Fake, client: mlflow.MlflowClient, gates: set[str]
    ) -> None:
        chat = traced()
        fake.does(gates={2: "go"})
        conversation = chat.conversation()
        with chat.streaming(conversation) as events:
            reply = chat.message(conversation, next(events).data["reply_id"])
            self.give(chat, reply, thumb="down")
            gates.add("go")
            list(events)

        ended = chat.message(conversation, reply["id"])
        wait_for(lambda: trace_of(client, ended["trace_id"]).info.assessments)

    def test_it_waits_for_a_trace_that_another_server_has_not_sent_yet(
        self,
        traced: StartChat,
        mlflow_server: Mlflow,
        proxy: StartProxy,
        client: mlflow.MlflowClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sending, "LONGEST_PAUSE", 0.2)
        monkeypatch.setattr(sending, "ATTEMPTS", 100_000)
        way = proxy(int(mlflow_server.uri.rsplit(":", 1)[1]))
        way.cut()
        one = traced(mlflow_tracking_uri=f"http://127.0.0.1:{way.port}")
        reply = one.ask(one.conversation())["reply"]
        self.give(traced(), reply, thumb="up")
        time.sleep(0.5)  # attempts for which there is no trace

        way.start()

        wait_for(lambda: trace_of(client, reply["trace_id"]).info.assessments)

    def test_what_somebody_has_said_in_mlflow_stays(
        self, traced: StartChat, client: mlflow.MlflowClient, mlflow_server: Mlflow
    ) -> None:
        chat = traced()
        reply = chat.ask(chat.conversation())["reply"]
        trace_of(client, reply["trace_id"])
        theirs = {
            "assessment_name": "thumb",
            "source": {"source_type": "HUMAN", "source_id": "reviewer"},
            "feedback": {"value": False},
        }
        place = f"{mlflow_server.uri}/api/3.0/mlflow/traces/{reply['trace_id']}/assessments"
        assert httpx2.post(place, json={"assessment": theirs}).status_code == 200

        for thumb in ("up", "down", "up"):
            self.give(chat, reply, thumb=thumb)

        def said() -> set[tuple[str, object]]:
            known = trace_of(client, reply["trace_id"]).info.assessments
            return {(each.source.source_id, each.feedback.value) for each in known}

        wait_for(lambda: said() == {("reviewer", False), ("chat-server", True)}, said)

    def test_for_a_trace_that_mlflow_does_not_have_it_stays_with_the_message(
        self, traced: StartChat, fake: Fake, database_url: str, client: mlflow.MlflowClient
    ) -> None:
        nowhere = "http://127.0.0.1:9"
        with chat_in_thread(fake, database_url, mlflow_tracking_uri=nowhere) as chat:
            conversation = chat.conversation()
            reply = chat.ask(conversation)["reply"]
        again = traced()

        self.give(again, reply, thumb="up")

        # What comes after it is not held up by it.
        other = again.ask(conversation)["reply"]
        self.give(again, other, thumb="up")
        wait_for(lambda: trace_of(client, other["trace_id"]).info.assessments)
        assert again.message(conversation, reply["id"])["thumb"] == "up"


class TestNeverInTheWay:
    def test_traces_and_feedback_wait_for_an_mlflow_that_is_away(
        self,
        traced: StartChat,
        mlflow_server: Mlflow,
        proxy: StartProxy,
        client: mlflow.MlflowClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sending, "LONGEST_PAUSE", 0.2)
        way = proxy(int(mlflow_server.uri.rsplit(":", 1)[1]))
        way.cut()
        chat = traced(mlflow_tracking_uri=f"http://127.0.0.1:{way.port}")
        reply = chat.ask(chat.conversation())["reply"]
        TestFeedback().give(chat, reply, thumb="up")
        time.sleep(1)  # attempts that fail

        way.start()

        wait_for(lambda: trace_of(client, reply["trace_id"]).info.assessments)
        assert chat.metric("chat_traces_lost_total") == 0

    def test_of_too_many_the_oldest_are_lost_and_counted(
        self, traced: StartChat, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "HELD_TRACES", 2)
        chat = traced(mlflow_tracking_uri="http://127.0.0.1:9")
        before = chat.metric("chat_traces_lost_total")
        conversation = chat.conversation()

        for _ in range(5):
            chat.ask(conversation)

        wait_for(lambda: chat.metric("chat_traces_lost_total") == before + 3)

    @pytest.mark.slow
    @pytest.mark.parametrize("trouble", ["refuses", "hangs"])
    def test_turns_and_the_stop_are_as_fast_without_it(
        self,
        start_process: StartProcess,
        mlflow_server: Mlflow,
        proxy: StartProxy,
        trouble: str,
    ) -> None:
        def measured(address: str, meanwhile: Callable[[], None]) -> tuple[float, float]:
            """Median seconds of a turn, and seconds from SIGTERM to the end."""
            chat = start_process(MLFLOW_TRACKING_URI=address)
            conversation = chat.conversation()
            chat.ask(conversation)
            meanwhile()
            times = []
            for _ in range(30):
                begun = time.perf_counter()
                chat.ask(conversation)
                times.append(time.perf_counter() - begun)
            chat.client.close()
            begun = time.perf_counter()
            chat.terminate()
            assert chat.wait() == -signal.SIGTERM
            return statistics.median(times), time.perf_counter() - begun

        way: Proxy = proxy(int(mlflow_server.uri.rsplit(":", 1)[1]))
        address = f"http://127.0.0.1:{way.port}"

        def break_it() -> None:
            if trouble == "refuses":
                way.cut()
            else:
                way.hangs = True

        turn, stop = measured(address, lambda: None)
        turn_without, stop_without = measured(address, break_it)
        # Machines are shared: what MLflow could cost are seconds, not a factor.
        assert turn_without < 3 * turn + 0.05
        assert stop_without < stop + sending.LAST_SECONDS + 1.5

    def test_an_experiment_that_was_deleted_comes_back(
        self, traced: StartChat, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = f"chat-{time.time_ns()}"  # other tests use the real one
        monkeypatch.setattr(mlflow_api, "EXPERIMENT", name)
        experiment = client.create_experiment(name)
        client.delete_experiment(experiment)
        chat = traced()

        reply = chat.ask(chat.conversation())["reply"]

        trace_of(client, reply["trace_id"])
        assert client.get_experiment(experiment).lifecycle_stage == "active"

    def test_what_is_no_mlflow_ends_nothing(
        self, traced: StartChat, fake: Fake, database_url: str
    ) -> None:
        other = traced()  # it answers 200 and JSON, or 404, and is no MLflow
        for address in (
            f"http://127.0.0.1:{other.port}",
            f"http://127.0.0.1:{other.port}/health?",
            fake.url,
            "http://mlflow..local:5001",
        ):
            with chat_in_thread(
                fake,
                database_url,
                mlflow_tracking_uri=address,
                mlflow_tracking_username="사용자" if address == fake.url else "",
                mlflow_tracking_password="비밀번호",
            ) as chat:
                for _ in range(3):
                    reply = chat.ask(chat.conversation())["reply"]
                    assert reply["status"] == "complete"
                time.sleep(0.3)
                assert chat.client.get("/ready").status_code == 200

    def test_the_server_is_ready_without_it(self, traced: StartChat) -> None:
        chat = traced(mlflow_tracking_uri="http://127.0.0.1:9")

        assert chat.client.get("/ready", headers=KEY).status_code == 200
        assert chat.client.get("/health").json()["status"] == "ok"
