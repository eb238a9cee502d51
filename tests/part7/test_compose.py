"""Part 7 in containers: asked, killed in the middle of a reply, on PostgreSQL, with llama.cpp."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import httpx2
import pytest

from tests.compose import Compose
from tests.conftest import ROOT
from tests.part7.servers import Chat, text_of
from tests.waiting import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1200)]

POSTGRESQL = "postgresql+psycopg://myuser:mypassword@postgres-server:5432/mydatabase"


def has_come(place: str) -> bool:
    """Whether MLflow has a trace."""
    return httpx2.get(place).is_success


@contextmanager
def chat_in(project: Compose) -> Iterator[Chat]:
    """A client of the chat server of a project."""
    chat = Chat(project.ports["CHAT_PORT"])
    try:
        yield chat
    finally:
        chat.client.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_conversation_survives_the_death_of_its_server(
    compose: Callable[..., Compose], monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setenv("TUTOR_TOKENS_PER_SECOND", "20")
    if database == "postgresql":
        monkeypatch.setenv("DATABASE_URL", POSTGRESQL)
        monkeypatch.setenv("COMPOSE_PROFILES", "postgres")
    project = compose("part7-llm-serving")
    project.up()
    states = project.states()
    assert states.pop("migrate").startswith("exited")
    for service in ("grafana", "loki", "alloy"):  # without a health check
        assert states.pop(service) == "running (no check)"
    assert set(states.values()) == {"running (healthy)"}, states
    assert project.run("exec", "chat-server", "id", "-u").strip() == "10001"

    with chat_in(project) as chat:
        assert chat.client.get("/health").json()["models"] == ["course-tutor"]
        conversation = chat.conversation()
        with chat.streaming(conversation, "How do I serve a model?") as events:
            reply = next(events).data["reply_id"]
            seen = next(events).data["text"]
            wait_for(lambda: chat.message(conversation, reply)["content"])
            project.kill("chat-server")
        project.run("up", "--wait")

        left = chat.message(conversation, reply)
        assert left["status"] == "interrupted"
        assert left["content"].startswith(seen)
        again = chat.post(f"/conversations/{conversation}/messages/{reply}/regenerate").json()
        assert again["reply"]["status"] == "complete"
        assert again["reply"]["content"].startswith(left["content"])
        mlflow = f"http://localhost:{project.ports['MLFLOW_PORT']}/api/3.0/mlflow/traces"
        for trace_id in (left["trace_id"], again["reply"]["trace_id"]):
            wait_for(partial(has_come, f"{mlflow}/{trace_id}"))
        assert chat.metric("chat_messages_stuck") == 0


def queries() -> list[str]:
    """Every PromQL expression of the dashboard."""
    folder = ROOT / "part7-llm-serving/monitoring/grafana/dashboards"
    panels = json.loads((folder / "chat-server.json").read_text(encoding="utf-8"))["panels"]
    found = [
        target["expr"]
        for panel in panels
        for target in panel["targets"]
        if target["datasource"]["type"] == "prometheus"
    ]
    assert len(found) > 15
    return found


def test_every_query_of_the_dashboard_has_an_answer(compose: Callable[..., Compose]) -> None:
    project = compose("part7-llm-serving")
    project.up()
    for file in ("config prometheus.yml", "rules alerts.yml"):
        what, name = file.split()
        checked = project.run(
            "exec", "prometheus", "promtool", "check", what, f"/etc/prometheus/{name}"
        )
        assert "SUCCESS" in checked
    with chat_in(project) as chat:
        prometheus = httpx2.Client(base_url=f"http://localhost:{project.ports['PROMETHEUS_PORT']}")

        def answers(query: str) -> bool:
            got = prometheus.get("/api/v1/query", params={"query": query}).json()
            assert got["status"] == "success", got
            values = [float(each["value"][1]) for each in got["data"]["result"]]
            return bool(values) and not any(map(math.isnan, values))

        conversation = chat.conversation()
        project.kill("tutor")
        assert (
            chat.post(f"/conversations/{conversation}/messages", {"content": "?"}).status_code
            == 503
        )
        project.run("up", "--wait")

        def traffic_has_answers() -> bool:
            chat.stream(chat.conversation(), "What is drift?")
            return all(map(answers, queries()))

        wait_for(traffic_has_answers, lambda: [q for q in queries() if not answers(q)])
        prometheus.close()


def test_a_real_model_server_takes_the_tutors_place(
    compose: Callable[..., Compose], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_BASE_URL", "http://llama-server:8000/v1")
    monkeypatch.setenv("COMPOSE_PROFILES", "cpu")
    project = compose("part7-llm-serving")
    project.up()

    with chat_in(project) as chat:
        config = chat.post(
            "/llm-configs", {"name": "short", "model_name": "any", "max_tokens": 40}
        ).json()
        conversation = chat.conversation(llm_config_id=config["id"])
        events = chat.stream(conversation, "Say something.")
        done = events[-1].data
        assert done["status"] == "complete", done
        assert text_of(events) == done["content"]
        assert done["usage"]["completion_tokens"] <= 40
        assert not done["usage"]["estimated"]

        long = chat.conversation()
        with chat.streaming(long, "Go on for a long time.", on_disconnect="cancel") as running:
            reply = next(running).data["reply_id"]
            next(running)
        assert chat.wait_until_ended(long, reply)["status"] in {"stopped", "complete"}
