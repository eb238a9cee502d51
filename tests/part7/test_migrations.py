"""Migrations: from every version to every other one, with what people wrote in between."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from serve.core.errors import DatabaseAwayError
from serve.database import Database as ServersDatabase
from serve.migrations.run import HERE, config_for, connected, migrate
from serve.models import Base
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from tests.conftest import Database, clean_environment
from tests.part7.servers import PART, Chat

REVISIONS = ["0001", "0002", "0003", "0004", "0005", "0006"]
WHEN = "2024-05-06 07:08:09+00:00"
SAID = [
    (1, "user", "first question"),
    (1, "assistant", "first answer, 첫 번째 답변"),
    (2, "user", "of another conversation"),
    (1, "user", "second question"),
    (1, "assistant", '100% of it\'s "kept" \\ _'),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without a table, of both kinds in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chat.db"
    database: Database = request.getfixturevalue("database")
    return database.url.replace("+psycopg2", "+psycopg")


def migrated(url: str, revision: str) -> None:
    """Go to a revision, up or down."""
    with connected(url) as connection:
        there = MigrationContext.configure(connection).get_current_revision() or ""
        down = revision == "base" or revision < there
        (command.downgrade if down else command.upgrade)(config_for(connection), revision)


def revision_of(url: str) -> str | None:
    with connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with connected(url) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def fill(url: str) -> None:
    """Write as the server did at the revision that the database has."""
    with connected(url) as connection:
        there = MigrationContext.configure(connection).get_current_revision() or ""
        if there >= "0002":
            _insert(
                connection,
                "llm_configs",
                id=1,
                name="brief",
                model_name="m",
                system_prompt="Be brief.",
                temperature=0.5,
                stop='["\\n"]',
                created_at=WHEN,
                updated_at=WHEN,
            )
        for number, title in ((1, "One"), (2, None), (3, "Empty")):
            values: dict[str, Any] = {"id": number, "title": title, "created_at": WHEN}
            if there >= "0002":
                values |= {"llm_config_id": 1 if number == 1 else None}
            if there >= "0003":
                count = sum(conversation == number for conversation, _, __ in SAID)
                last = [i for i, each in enumerate(SAID, start=1) if each[0] == number][-1:]
                values |= {
                    "session_id": "s",
                    "message_count": count,
                    "active_leaf_id": last[0] if last else None,
                    "updated_at": WHEN,
                }
            _insert(connection, "conversations", **values)
        seqs: dict[int, int] = {}
        last_ids: dict[int, int] = {}
        for number, (conversation, role, content) in enumerate(SAID, start=1):
            values = {
                "id": number,
                "conversation_id": conversation,
                "role": role,
                "content": content,
                "created_at": WHEN,
            }
            seqs[conversation] = seqs.get(conversation, 0) + 1
            if there >= "0003":
                values |= {
                    "seq": seqs[conversation],
                    "parent_id": last_ids.get(conversation),
                    "status": "complete",
                }
            last_ids[conversation] = number
            _insert(connection, "chat_messages", **values)
        if connection.dialect.name != "sqlite":  # the rows have brought their own numbers
            for table in ("conversations", "chat_messages", *["llm_configs"] * (there >= "0002")):
                connection.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id))"
                        f" FROM {table}"
                    )
                )


def _insert(connection: Connection, table: str, **values: Any) -> None:
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)


def messages_of(url: str) -> list[tuple[Any, ...]]:
    return rows(url, "SELECT conversation_id, role, content FROM chat_messages ORDER BY id")


def titles_of(url: str) -> list[tuple[Any, ...]]:
    return rows(url, "SELECT id, title FROM conversations ORDER BY id")


TITLES = [(1, "One"), (2, None), (3, "Empty")]


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_from_any_version_keeps_everything(empty_url: str, revision: str) -> None:
    migrate(empty_url, 10, revision)
    fill(empty_url)

    migrate(empty_url, 10)

    assert revision_of(empty_url) == REVISIONS[-1]
    assert titles_of(empty_url) == TITLES
    assert messages_of(empty_url) == SAID
    chain = "SELECT id, seq, parent_id, status FROM chat_messages ORDER BY id"
    assert rows(empty_url, chain) == [
        (1, 1, None, "complete"),
        (2, 2, 1, "complete"),
        (3, 1, None, "complete"),
        (4, 3, 2, "complete"),
        (5, 4, 4, "complete"),
    ]
    counts = "SELECT message_count, active_leaf_id FROM conversations ORDER BY id"
    assert rows(empty_url, counts) == [(4, 5), (1, 3), (0, None)]


@pytest.mark.parametrize("revision", ["base", *REVISIONS[:-1]])
def test_a_downgrade_keeps_what_the_older_version_knows(empty_url: str, revision: str) -> None:
    migrate(empty_url, 10)
    fill(empty_url)

    migrated(empty_url, revision)

    assert revision_of(empty_url) == (None if revision == "base" else revision)
    if revision == "base":
        with connected(empty_url) as connection:
            left = set(inspect(connection).get_table_names())
        assert left <= {"alembic_version"}
    else:
        assert titles_of(empty_url) == TITLES
        assert messages_of(empty_url) == SAID
        if revision >= "0002":
            configs = "SELECT c.id, l.name FROM conversations c JOIN llm_configs l"
            assert rows(empty_url, f"{configs} ON l.id = c.llm_config_id") == [(1, "brief")]
    migrate(empty_url, 10)
    assert revision_of(empty_url) == REVISIONS[-1]
    if revision != "base":
        assert messages_of(empty_url) == SAID


def test_a_downgrade_to_a_list_keeps_the_path_that_was_shown(empty_url: str) -> None:
    migrate(empty_url, 10)
    fill(empty_url)
    with connected(empty_url) as connection:
        _insert(
            connection,
            "chat_messages",
            id=6,
            conversation_id=1,
            seq=5,
            parent_id=4,
            role="assistant",
            content="another second answer",
            status="complete",
            created_at=WHEN,
        )
        connection.execute(text("UPDATE conversations SET active_leaf_id = 6 WHERE id = 1"))

    migrated(empty_url, "0002")

    first = [content for number, _, content in messages_of(empty_url) if number == 1]
    assert first == [SAID[0][2], SAID[1][2], SAID[3][2], "another second answer"]


class TestServerOnAnOldDatabase:
    """The server itself, on what a migration from the first version left."""

    @pytest.fixture
    def database_url(self, empty_url: str) -> str:
        migrate(empty_url, 10, "0001")
        fill(empty_url)
        migrate(empty_url, 10)
        return empty_url

    def test_a_conversation_goes_on(self, chat: Chat) -> None:
        turn = chat.ask(1, "third question")

        shown = chat.get("/conversations/1")
        assert [each["content"] for each in shown["messages"]][:5] == [
            content for number, _, content in SAID if number == 1
        ] + ["third question"]
        assert (turn["message"]["seq"], turn["reply"]["seq"]) == (5, 6)

    def test_old_messages_are_found(self, chat: Chat) -> None:
        found = chat.get("/conversations", q="번째")
        assert [each["id"] for each in found["conversations"]] == [1]

    def test_a_number_is_never_used_twice(self, chat: Chat) -> None:
        last = chat.conversation()
        chat.client.delete(f"/api/v1/conversations/{last}")

        assert chat.conversation() == last + 1

    def test_who_deletes_a_conversation_deletes_its_messages(
        self, chat: Chat, empty_url: str
    ) -> None:
        chat.client.delete("/api/v1/conversations/1")

        assert [content for _, __, content in messages_of(empty_url)] == ["of another conversation"]


def test_models_and_migrations_agree(empty_url: str) -> None:
    migrate(empty_url, 10)

    with connected(empty_url) as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": _no_search, "compare_type": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def _no_search(_: object, name: str | None, *__: object) -> bool:
    return not (name or "").startswith("chat_messages_search")


def test_a_downgraded_and_upgraded_database_is_like_a_new_one(empty_url: str) -> None:
    migrate(empty_url, 10)
    new = _schema(empty_url)

    migrated(empty_url, "0001")
    migrated(empty_url, "head")

    assert _schema(empty_url) == new
    assert any("chat_messages_search" in str(each) for each in new)


def _schema(url: str) -> list[tuple[Any, ...]]:
    if make_url(url).get_backend_name() == "sqlite":
        return rows(url, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    indices = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    constraints = (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1"
    )
    return [*rows(url, columns), *rows(url, indices), *rows(url, constraints)]


def test_the_rules_of_the_tables_are_enforced_after_all_migrations(empty_url: str) -> None:
    migrate(empty_url, 10, "0001")
    fill(empty_url)
    migrate(empty_url, 10)
    message = {
        "conversation_id": 1,
        "role": "user",
        "content": "x",
        "status": "complete",
        "created_at": WHEN,
    }

    for wrong in (
        {"conversation_id": 99, "seq": 1},
        {"seq": 1},
        {"seq": 5, "parent_id": 99},
        {"seq": None},
        {"seq": 5, "status": None},
    ):
        with pytest.raises(IntegrityError):
            _insert_enforcing(empty_url, message | wrong)
    _insert_enforcing(empty_url, message | {"seq": 5, "parent_id": 5})


def _insert_enforcing(url: str, values: dict[str, Any]) -> None:
    """On a connection of the server's, which enforces foreign keys on SQLite."""
    server = ServersDatabase(url)
    try:
        with server.engine.begin() as connection:
            _insert(connection, "chat_messages", **values)
    finally:
        server.close()


def test_two_processes_that_migrate_at_once_do_it_once(empty_url: str) -> None:
    migrate(empty_url, 10, "0001")
    fill(empty_url)
    program = "import sys; from serve.migrations.run import migrate; migrate(sys.argv[1], 30)"

    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, empty_url],
            cwd=PART,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [each.communicate()[0] for each in both]

    assert [each.returncode for each in both] == [0, 0], said
    assert sum("migrating" in each for each in said) == 1
    assert messages_of(empty_url) == SAID


class TestNewerDatabase:
    def test_it_is_refused(self, database_url: str) -> None:
        _claim_newer(database_url)

        with pytest.raises(DatabaseAwayError, match=r"newer version \(revision 9999\)"):
            migrate(database_url, 10)

    def test_the_server_says_so_in_one_line(self, sqlite_url: str) -> None:
        _claim_newer(sqlite_url)

        ended = _run("-m", "serve.main", url=sqlite_url)

        assert ended.returncode == 1
        assert ended.stdout == ""
        assert ended.stderr == (
            "error: the database was made by a newer version (revision 9999): start that one\n"
        )


def _claim_newer(url: str) -> None:
    with connected(url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))


def _run(*command: str, url: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        cwd=PART,
        env=clean_environment() | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


class TestCommandLine:
    """Alembic's own, as somebody uses it who writes the next migration."""

    def alembic(self, url: str, *arguments: str) -> str:
        done = _run("-m", "alembic", "-c", "alembic.ini", *arguments, url=url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_it_tells_the_revision(self, database_url: str) -> None:
        assert self.alembic(database_url, "current") == f"{REVISIONS[-1]} (head)\n"

    def test_it_finds_nothing_to_generate(self, database_url: str) -> None:
        assert self.alembic(database_url, "check") == "No new upgrade operations detected.\n"

    def test_it_loses_no_message_on_the_way_down_and_up(self, empty_url: str) -> None:
        migrate(empty_url, 10)
        fill(empty_url)

        self.alembic(empty_url, "downgrade", "0001")
        assert messages_of(empty_url) == SAID
        self.alembic(empty_url, "upgrade", "head")

        assert messages_of(empty_url) == SAID
        assert revision_of(empty_url) == REVISIONS[-1]


def test_every_migration_has_an_end_and_one_before_it(tmp_path: Path) -> None:
    with connected(f"sqlite:///{tmp_path}/x.db") as connection:
        scripts = ScriptDirectory.from_config(config_for(connection))
    there = list(scripts.walk_revisions())

    assert [each.revision for each in reversed(there)] == REVISIONS
    assert [Path(each.path).parent for each in there] == [HERE / "versions"] * len(there)


class TestDatabaseThatCannotBeUsed:
    """One line, which names the remedy and no password."""

    def test_nobody_listens(self) -> None:
        url = "postgresql+psycopg://me:secret@127.0.0.1:1/x"

        with pytest.raises(DatabaseAwayError) as raised:
            migrate(url, 0.1)

        assert "PostgreSQL at 127.0.0.1:1" in str(raised.value)
        assert "secret" not in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_a_wrong_password_is_not_waited_for(self, database: Database) -> None:
        url = make_url(database.url).set(username="nobody", password="secret")

        with pytest.raises(DatabaseAwayError, match="correct DATABASE_URL") as raised:
            migrate(url.render_as_string(hide_password=False), 300)

        assert "secret" not in str(raised.value)

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        file = tmp_path / "notes.txt"
        file.write_text("no database, but a text that is longer than a header " * 20)

        with pytest.raises(DatabaseAwayError, match="file is not a database"):
            migrate(f"sqlite:///{file}", 300)

        assert file.read_text().startswith("no database")

    @pytest.mark.parametrize("place", ["notes.txt/chat.db", "folder"])
    def test_a_place_where_no_file_can_be(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "notes.txt").touch()
        (tmp_path / "folder").mkdir()

        with pytest.raises(DatabaseAwayError, match="correct DATABASE_URL"):
            migrate(f"sqlite:///{tmp_path}/{place}", 300)
