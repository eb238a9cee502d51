"""Search in messages: parts of words in any script, and no text in a query does harm."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve.cruds import conversations, search
from serve.database import Database
from serve.migrations.run import migrate
from serve.models import ChatMessage, Conversation
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from tests.part7.servers import Chat, Fake

TEXTS = [
    "What is data drift? Drift is a change of the inputs.",
    "데이터 드리프트는 무엇인가요? 모델을 다시 학습합니다.",
    "A champion serves; a CHALLENGER waits.",
    "quotes \" and ' and 100% and under_score and back\\slash and (brackets) AND NOT OR * ^ :",
    "강물은 바다로 흐른다",
    "x",
]


def found(chat: Chat, q: str) -> list[int]:
    """The conversations that a query finds, oldest first."""
    return [each["id"] for each in chat.get("/conversations", q=q, limit=100)["conversations"]][
        ::-1
    ]


def numbers(engine: Engine, q: str) -> list[int]:
    """Which of the texts are found, by their places in the list."""
    with Session(engine) as session:
        return sorted(each.id - 1 for each in conversations.page(session, None, 100, None, q))


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("drift", [0]),
        ("DRIFT", [0]),
        ("rif", [0]),
        ("challenger", [2]),
        ("hallen", [2]),
        ("change inputs", [0]),
        ("inputs change", [0]),
        ("change challenger", []),
        ("드리프트", [1]),
        ("리프트는", [1]),
        ("학습", [1]),
        ("강물", [4]),
        ("물은", [4]),
        ("강", [4]),
        ("다", [1, 4]),
        ("x", [5]),
        ("X", [5]),
        ("is", [0]),
        ("IS", [0]),
        ("d", [0, 3]),
        ("?", [0, 1]),
        ("%", [3]),
        ("100%", [3]),
        ("0%", [3]),
        ("_", [3]),
        ("r_s", [3]),
        ("under_score", [3]),
        ("\\", [3]),
        ("k\\s", [3]),
        ('"', [3]),
        ("'", [3]),
        ("(brackets)", [3]),
        ("NOT", [3]),
        ("zzz", []),
        ("zz", []),
        ("", [0, 1, 2, 3, 4, 5]),
        ("  \t ", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_words_are_found(all_words: list[Any], q: str, expected: list[int]) -> None:
    for engine in all_words:
        assert numbers(engine, q) == expected


@pytest.fixture(scope="module")
def all_words(
    tmp_path_factory: pytest.TempPathFactory, migrated_file: Any, module_database: Any
) -> Iterator[list[Engine]]:
    """Both databases with the texts, for all queries."""
    copy = tmp_path_factory.mktemp("search") / "chat.db"
    copy.write_bytes(migrated_file.read_bytes())
    urls = [f"sqlite:///{copy}", module_database.url.replace("+psycopg2", "+psycopg")]
    migrate(urls[1], 10)
    with contextlib.ExitStack() as open_ones:
        yield [open_ones.enter_context(_filled(url)) for url in urls]


@contextlib.contextmanager
def _filled(url: str) -> Iterator[Engine]:
    database = Database(url)
    with Session(database.engine) as session, session.begin():
        for said in TEXTS:
            conversation = Conversation(message_count=1)
            session.add(conversation)
            session.flush()
            session.add(
                ChatMessage(conversation_id=conversation.id, seq=1, role="user", content=said)
            )
    yield database.engine
    database.close()


ODD = st.text(st.sampled_from("aADdriftSs 다강물는\"'%_\\*()^:-+{}[]&|~/.,;#$@!?0\n"), max_size=12)
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(q=ODD)
def test_a_query_finds_what_holds_all_its_words(all_words: list[Engine], q: str) -> None:
    expected = [
        number
        for number, said in enumerate(TEXTS)
        if all(word.lower() in said.lower() for word in q.split())
    ]
    for engine in all_words:
        assert numbers(engine, q) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(q=ANY)
def test_no_query_does_harm(all_words: list[Engine], q: str) -> None:
    for engine in all_words:
        assert set(numbers(engine, q)) <= set(range(len(TEXTS)))


class TestThroughTheServer:
    def test_a_reply_is_found_when_it_has_ended(self, chat: Chat, fake: Fake) -> None:
        fake.does(rate=40, tokens=200)
        conversation = chat.conversation()
        with chat.streaming(conversation, "질문입니다") as events:
            reply = next(events).data["reply_id"]
            while "rain" not in chat.message(conversation, reply)["content"]:
                next(events)
            assert found(chat, "rain") == []
            assert found(chat, "ai") == []
            assert found(chat, "질문") == [conversation]
            chat.post(f"/conversations/{conversation}/messages/{reply}/stop")

        assert found(chat, "rain") == [conversation]
        assert found(chat, "ai") == [conversation]
        assert found(chat, "rain 질문") == []  # one message has to hold every word

    def test_nothing_is_found_of_what_was_deleted(self, chat: Chat) -> None:
        gone, stays = chat.conversation(), chat.conversation()
        for conversation in (gone, stays):
            chat.ask(conversation, "the same words")

        chat.client.delete(f"/api/v1/conversations/{gone}")

        for q in ("same", "rain", "am"):
            assert found(chat, q) == [stays]

    def test_pages_and_sessions_go_with_it(self, chat: Chat) -> None:
        made = [chat.conversation(session_id="mine") for _ in range(3)]
        for conversation in [*made, chat.conversation(session_id="other")]:
            chat.ask(conversation, "100% & more")

        page = chat.get("/conversations", q="100% &", session_id="mine", limit=2)
        rest = chat.client.get(page["next"]).json()

        ids = [each["id"] for each in page["conversations"] + rest["conversations"]]
        assert ids == made[::-1]
        assert rest["next"] is None

    def test_a_query_has_a_bound(self, chat: Chat) -> None:
        assert chat.client.get("/api/v1/conversations", params={"q": "x" * 201}).status_code == 422
        assert found(chat, "a " * 100) == []

    def test_a_query_of_many_words_is_answered(self, chat: Chat) -> None:
        conversation = chat.conversation()
        chat.ask(conversation, "abcdefghijklmnopqrstuvwxyz 0123456789 가나다라마바사아자차카타파하")

        assert found(chat, " ".join("abcdefghijklmnopqrstuvwxyz0123456789가나다라마바사")) == [1]
        assert found(chat, "abc bcd cde def efg fgh ghi hij " * 6) == [1]
        assert found(chat, "abc bcd cde def efg fgh ghi hij zz") == []


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """Both kinds in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a server on both databases."""
    if "database_url" in metafunc.fixturenames:
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


class TestIndex:
    """It is used, and a change of the query that passes it by is noticed."""

    def plan(self, engine: Engine, word: str) -> str:
        sqlite = engine.dialect.name == "sqlite"
        with Session(engine) as session:
            if not sqlite:
                session.execute(text("SET enable_seqscan = off"))
            query = select(Conversation.id).where(
                Conversation.id.in_(search.conversations_with(session, [word]))
            )
            said = query.compile(engine, compile_kwargs={"literal_binds": True})
            explain = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
            rows = session.connection().exec_driver_sql(f"{explain} {said}")
            return "\n".join(str(tuple(row)) for row in rows)

    def test_a_word_is_looked_up(self, all_words: list[Engine]) -> None:
        sqlite, postgresql = (self.plan(engine, "drift") for engine in all_words)

        assert "SCAN chat_messages_search VIRTUAL TABLE INDEX" in sqlite
        assert "SCAN chat_messages " not in sqlite
        assert "chat_messages_search" in postgresql
        assert "Seq Scan on chat_messages" not in postgresql

    def test_two_letters_are_looked_up_where_pairs_are_indexed(
        self, all_words: list[Engine]
    ) -> None:
        assert "chat_messages_search" in self.plan(all_words[1], "강물")
