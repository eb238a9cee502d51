"""The database as the services see it: a function that takes a session is one transaction."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psycopg
import pytest
from serve import database as module
from serve.core.errors import ConflictError, DatabaseAwayError, DatabaseFullError, NotFoundError
from serve.cruds import conversations, llm_configs
from serve.database import Database
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

Use = Callable[[Database], Coroutine[Any, Any, Any]]


def using(url: str, use: Use) -> Any:
    """What `use` makes of an open database, which is closed afterwards."""

    async def run() -> Any:
        database = Database(url)
        try:
            return await use(database)
        finally:
            await asyncio.to_thread(database.close)

    return asyncio.run(run())


def add(name: str) -> Callable[[Session], int]:
    return lambda session: llm_configs.add(session, {"name": name, "model_name": "m"}).id


def names(session: Session) -> list[str]:
    return [config.name for config in llm_configs.page(session, 0, 1000)]


def test_a_write_that_fails_undoes_itself_alone(database_url: str) -> None:
    def half_done(session: Session) -> None:
        add("half")(session)
        conversations.remove(session, 404)

    def broken(session: Session) -> None:
        add("broken")(session)
        raise ZeroDivisionError

    async def use(database: Database) -> tuple[list[Any], list[str]]:
        await database.write(add("taken"))
        works = [add("a"), half_done, add("b"), add("taken"), broken, add("c")]
        outcomes = await asyncio.gather(
            *(database.write(work) for work in works), return_exceptions=True
        )
        return outcomes, await database.read(names)

    outcomes, kept = using(database_url, use)

    assert [type(each) for each in outcomes] == [
        int,
        NotFoundError,
        int,
        ConflictError,
        ZeroDivisionError,
        int,
    ]
    assert sorted(kept) == ["a", "b", "c", "taken"]


def test_a_rule_of_the_table_that_nobody_foresaw_reaches_the_caller(database_url: str) -> None:
    async def use(database: Database) -> None:
        await database.write(lambda s: s.execute(text("INSERT INTO llm_configs(id) VALUES (1)")))

    with pytest.raises(IntegrityError):
        using(database_url, use)


def test_writers_at_the_same_time_lose_nothing(database_url: str) -> None:
    async def use(database: Database) -> int:
        made: int = await database.write(lambda s: conversations.add(s, "0", None, None).id)

        def count_up(session: Session) -> int:
            row = conversations.get(session, made)
            session.refresh(row, with_for_update=True)
            row.message_count += 1
            session.flush()
            return row.message_count

        counts = await asyncio.gather(*(database.write(count_up) for _ in range(200)))
        assert sorted(counts) == list(range(1, 201))
        return await database.read(lambda s: conversations.get(s, made).message_count)

    assert using(database_url, use) == 200


def test_two_servers_write_the_same_file(sqlite_url: str) -> None:
    async def use(database: Database) -> list[str]:
        other = Database(sqlite_url)
        both = [
            each.write(add(f"{i} {id(each)}")) for i in range(100) for each in (database, other)
        ]
        await asyncio.gather(*both)
        await asyncio.to_thread(other.close)
        return await database.read(names)

    assert len(using(sqlite_url, use)) == 200


def test_writes_that_wait_share_a_commit(sqlite_url: str) -> None:
    commits: list[int] = []

    async def use(database: Database) -> None:
        event.listen(database.engine, "commit", lambda _: commits.append(1))
        held = threading.Event()
        first = asyncio.create_task(database.write(lambda _: held.wait()))
        await asyncio.sleep(0)
        rest = [asyncio.create_task(database.write(add(str(i)))) for i in range(50)]
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(first, *rest)

    using(sqlite_url, use)

    assert len(commits) <= 2  # the first alone, the others together; or all, if they were quick


def test_the_write_of_a_caller_who_is_cancelled_happens_all_the_same(database_url: str) -> None:
    async def use(database: Database) -> list[str]:
        begun, go_on = threading.Event(), threading.Event()

        def slow(session: Session) -> None:
            begun.set()
            go_on.wait()
            add("kept")(session)

        calling = asyncio.create_task(database.write(slow))
        await asyncio.to_thread(begun.wait)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        go_on.set()
        await database.write(add("later"))
        while len(found := await database.read(names)) < 2:
            await asyncio.sleep(0.01)
        return found

    assert sorted(using(database_url, use)) == ["kept", "later"]


def test_a_write_that_was_cancelled_in_the_queue_does_not_disturb_the_others(
    sqlite_url: str,
) -> None:
    async def use(database: Database) -> list[str]:
        go_on = threading.Event()
        first = asyncio.create_task(database.write(lambda _: go_on.wait()))
        cancelled = asyncio.create_task(database.write(add("cancelled")))
        last = asyncio.create_task(database.write(add("last")))
        await asyncio.sleep(0)
        cancelled.cancel()
        go_on.set()
        await asyncio.gather(first, last)
        return await database.read(names)

    assert sorted(using(sqlite_url, use)) == ["cancelled", "last"]


def test_closing_finishes_the_writes_that_wait(database_url: str) -> None:
    async def use(database: Database) -> None:
        pending = [asyncio.create_task(database.write(add(str(i)))) for i in range(150)]
        await asyncio.sleep(0)
        await asyncio.to_thread(database.close)
        await asyncio.gather(*pending)

    async def alone() -> None:
        await use(Database(database_url))

    asyncio.run(alone())

    assert len(using(database_url, lambda database: database.read(names))) == 150


class TestLockedDatabase:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "BUSY_SECONDS", 0.2)

    def test_the_caller_hears_of_it_and_the_next_write_succeeds(self, sqlite_url: str) -> None:
        other = sqlite3.connect(make_url(sqlite_url).database or "", check_same_thread=False)
        other.isolation_level = None

        async def use(database: Database) -> list[str]:
            await database.write(add("before"))
            other.execute("BEGIN IMMEDIATE")
            writes = [database.write(add(str(i))) for i in range(10)]
            begun = asyncio.get_running_loop().time()
            outcomes = await asyncio.gather(*writes, return_exceptions=True)
            # All wait for one attempt or two, not one after the other.
            assert asyncio.get_running_loop().time() - begun < 10 * 0.2
            assert {type(each) for each in outcomes} == {DatabaseAwayError}
            assert "another program holds the database" in str(outcomes[0])
            assert await database.read(names) == ["before"]
            other.execute("COMMIT")
            await database.write(add("after"))
            return await database.read(names)

        assert using(sqlite_url, use) == ["before", "after"]
        other.close()

    def test_a_row_that_another_one_holds_is_waited_for(self, postgresql_url: str) -> None:
        plain = postgresql_url.replace("+psycopg", "")

        async def use(database: Database) -> int:
            made: int = await database.write(lambda s: conversations.add(s, "0", None, None).id)
            with psycopg.connect(plain) as other:
                other.execute("UPDATE conversations SET title = 'theirs'")
                waiting = asyncio.create_task(
                    database.write(lambda s: conversations.change(s, made, {"title": "ours"}).id)
                )
                other.commit()
            return await waiting

        assert using(postgresql_url, use) == 1


def test_a_full_disk_is_named_and_nothing_is_half_written(sqlite_url: str) -> None:
    def long(session: Session) -> None:
        add("long")(session)
        conversations.add(session, "x", None, None)
        prompt = {"name": "longest", "model_name": "m", "system_prompt": "x" * 500_000}
        llm_configs.add(session, prompt)

    async def use(database: Database) -> list[str]:
        @event.listens_for(database.engine, "connect")
        def _small(connection: Any, _: object) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + 10}")

        full = await asyncio.gather(
            database.write(long), database.write(long), return_exceptions=True
        )
        assert [type(each) for each in full] == [DatabaseFullError] * 2
        assert full[0].status == 507  # type: ignore[union-attr]
        await database.write(add("short"))
        return await database.read(names)

    assert using(sqlite_url, use) == ["short"]


def test_a_database_that_can_only_be_read_is_named(sqlite_url: str, postgresql_url: str) -> None:
    async def use(database: Database) -> None:
        @event.listens_for(database.engine, "connect")
        def _read_only(connection: Any, _: object) -> None:
            if database.is_sqlite:
                connection.execute("PRAGMA query_only = ON")
            else:
                connection.execute("SET default_transaction_read_only = on")
                connection.commit()

        with pytest.raises(DatabaseAwayError, match="can only be read; nothing was changed"):
            await database.write(add("x"))
        assert await database.read(names) == []

    for url in (sqlite_url, postgresql_url):
        using(url, use)


def test_a_database_that_goes_away_and_comes_back_is_used_again(
    postgresql_url: str, proxy: Callable[..., Any]
) -> None:
    address = make_url(postgresql_url)
    between = proxy(address.port)
    url = address.set(port=between.port).render_as_string(hide_password=False)

    async def use(database: Database) -> list[str]:
        await database.write(add("before"))
        await asyncio.to_thread(between.cut)
        for work in (database.write(add("lost")), database.read(names)):
            with pytest.raises(DatabaseAwayError):
                await work
        await asyncio.to_thread(between.start)
        await database.write(add("after"))
        return await database.read(names)

    assert using(url, use) == ["before", "after"]


@pytest.mark.parametrize("times", [2, 3])
def test_a_transaction_that_postgresql_breaks_off_is_tried_again(
    postgresql_url: str, times: int
) -> None:
    plain = postgresql_url.replace("+psycopg", "")
    attempts: list[str | None] = []

    async def use(database: Database) -> str | None:
        made: int = await database.write(lambda s: conversations.add(s, "0", None, None).id)

        def outrun(session: Session) -> None:
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            attempts.append(conversations.get(session, made).title)
            if len(attempts) <= times:
                with psycopg.connect(plain) as other:
                    other.execute("UPDATE conversations SET title = %s", [str(len(attempts))])
            conversations.change(session, made, {"title": "ours"})

        if times < module.ATTEMPTS:
            await database.write(outrun)
        else:
            with pytest.raises(DatabaseAwayError):
                await database.write(outrun)
        return await database.read(lambda s: conversations.get(s, made).title)

    title = using(postgresql_url, use)

    assert attempts == ["0", "1", "2"]
    assert title == ("ours" if times < module.ATTEMPTS else "3")


def test_the_folder_of_a_new_file_is_made(tmp_path: Path) -> None:
    using(
        f"sqlite:///{tmp_path}/a/b/chat.db",
        lambda database: database.write(lambda s: s.execute(text("CREATE TABLE t (x)")) and None),
    )

    assert (tmp_path / "a" / "b" / "chat.db").exists()
