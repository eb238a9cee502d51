"""The client of the chat server, on connections that break."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from demo.client import ChatClient
from demo.errors import AwayError, RefusedError
from demo.pacing import in_groups
from demo.stream import Delta, Done, Event, Trouble, Turn

from tests.conftest import StartProxy
from tests.part7.servers import Chat, Fake, chat_in_thread, chat_process, free_port
from tests.waiting import wait_for

KEY = "mykey"
SLOWLY = {"rate": 60.0, "tokens": 60}


def run[T](work: Callable[[ChatClient], Coroutine[Any, Any, T]], port: int) -> T:
    """Do something with a client of the server at `port`."""

    async def with_client() -> T:
        async with ChatClient(f"http://127.0.0.1:{port}", KEY) as client:
            return await work(client)

    return asyncio.run(with_client())


def text_of(events: list[Event]) -> str:
    """What the deltas say together."""
    return "".join(event.text for event in events if isinstance(event, Delta))


def kinds(events: list[Event]) -> list[type]:
    """Which events came, with deltas in a row as one."""
    found: list[type] = []
    for event in events:
        if not (found and found[-1] is type(event) is Delta):
            found.append(type(event))
    return found


async def cut_in_the_middle(events: AsyncGenerator[Event], cut: Callable[[], None]) -> list[Event]:
    """All events, with something done to the connection after some of them."""
    seen: list[Event] = []
    async for event in events:
        seen.append(event)
        if len(seen) == 8:
            cut()
    return seen


@pytest.fixture
def server(fake: Fake, sqlite_url: str) -> Any:
    """The chat server, in this process."""
    with chat_in_thread(fake, sqlite_url) as chat:
        yield chat


def test_a_reply_is_whole_and_without_repetition_after_the_connection_broke(
    server: Chat, fake: Fake, proxy: StartProxy
) -> None:
    fake.does(**SLOWLY)
    conversation = server.conversation()
    between = proxy(server.port)

    def cut() -> None:
        between.cut()
        between.start()

    events = run(lambda c: cut_in_the_middle(c.send(conversation, "강"), cut), between.port)

    done = events[-1]
    assert isinstance(done, Done)
    assert done.reply.status == "complete"
    assert text_of(events) == done.reply.content
    assert len(done.reply.content.split()) == 60
    assert kinds(events) == [Turn, Delta, Done]
    assert server.get(f"/conversations/{conversation}")["message_count"] == 2
    assert len(fake.exchanges) == 1


def test_a_message_whose_answer_was_lost_is_not_sent_twice(server: Chat, fake: Fake) -> None:
    fake.does(**SLOWLY)
    conversation = server.conversation()

    async def send() -> tuple[list[Event], int]:
        lost: list[bytes] = []
        losing = await _losing_the_first_answer(server.port, lost)
        port = losing.sockets[0].getsockname()[1]
        async with losing, ChatClient(f"http://127.0.0.1:{port}", KEY) as client:
            return [event async for event in client.send(conversation, "once")], len(lost)

    events, lost = asyncio.run(send())

    assert lost == 1
    assert kinds(events) == [Turn, Delta, Done]
    assert isinstance(events[-1], Done)
    assert text_of(events) == events[-1].reply.content
    assert server.get(f"/conversations/{conversation}")["message_count"] == 2
    assert len(fake.exchanges) == 1


async def _losing_the_first_answer(port: int, lost: list[bytes]) -> asyncio.Server:
    """A way to the server on which the first answer is lost, after the request has arrived."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)

        async def requests() -> None:
            while data := await reader.read(65536):
                to_server.write(data)
            to_server.close()

        async def answers() -> None:
            while data := await from_server.read(65536):
                if not lost:
                    lost.append(data)
                    return
                writer.write(data)

        asking = asyncio.create_task(requests())
        await answers()
        asking.cancel()
        for end in (writer, to_server):
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize("way", ["regenerate", "edit"])
def test_what_cannot_be_repeated_is_not_repeated(server: Chat, fake: Fake, way: str) -> None:
    turn = server.ask(server.conversation())
    conversation = turn["reply"]["conversation_id"]

    async def ask() -> None:
        losing = await _losing_the_first_answer(server.port, [])
        port = losing.sockets[0].getsockname()[1]
        async with losing, ChatClient(f"http://127.0.0.1:{port}", KEY) as client:
            events = (
                client.regenerate(conversation, turn["reply"]["id"])
                if way == "regenerate"
                else client.edit(conversation, turn["message"]["id"], "else")
            )
            async for _ in events:
                pass

    with pytest.raises(AwayError, match="the connection broke"):
        asyncio.run(ask())

    wait_for(lambda: len(fake.exchanges) == 2)  # the first turn's, and the lost one
    fake.wait_until_idle()
    added = {"regenerate": 1, "edit": 2}[way]
    assert server.get(f"/conversations/{conversation}")["message_count"] == 2 + added


@pytest.mark.slow
def test_a_reply_ends_when_its_server_was_killed_and_came_back(
    fake: Fake, sqlite_url: str, tmp_path: Path
) -> None:
    fake.does(rate=30, tokens=500)
    with chat_process(fake, sqlite_url, tmp_path) as server:
        conversation = server.conversation()

        def restart() -> None:
            server.kill()
            server.start()

        events = run(
            lambda c: cut_in_the_middle(c.send(conversation, "hello"), restart), server.port
        )

    done = events[-1]
    assert isinstance(done, Done)
    assert done.reply.status == "interrupted"
    assert 0 < len(text_of(events).split()) < 500
    assert text_of(events).startswith(done.reply.content)


def test_a_reply_is_followed_from_its_beginning_by_who_comes_later(
    server: Chat, fake: Fake
) -> None:
    turn = server.ask(server.conversation())
    reply = turn["reply"]

    async def follow(client: ChatClient) -> list[Event]:
        return [each async for each in client.follow(reply["conversation_id"], reply["id"])]

    events = run(follow, server.port)

    assert kinds(events) == [Delta, Done]
    assert text_of(events) == reply["content"]


def test_a_model_that_fails_is_trouble_and_then_the_end(server: Chat, fake: Fake) -> None:
    fake.does(status=400)
    conversation = server.conversation()

    async def send(client: ChatClient) -> list[Event]:
        return [event async for event in client.send(conversation, "hello")]

    events = run(send, server.port)

    assert kinds(events) == [Turn, Trouble, Done]
    assert isinstance(events[1], Trouble)
    assert isinstance(events[2], Done)
    assert "400" in events[1].detail
    assert events[2].reply.status == "failed"
    assert events[2].reply.error is not None
    assert events[2].reply.error["detail"] == events[1].detail


def test_nobody_there_is_said_at_once() -> None:
    port = free_port()

    async def send(client: ChatClient) -> None:
        async for _ in client.send(1, "hello"):
            pass

    with pytest.raises(AwayError, match=rf"http://127\.0\.0\.1:{port}/? does not answer"):
        run(send, port)
    with pytest.raises(AwayError, match=rf"http://127\.0\.0\.1:{port} does not answer"):
        run(lambda client: client.health(), port)


def test_a_refusal_says_what_the_server_says(server: Chat, fake: Fake) -> None:
    with pytest.raises(RefusedError, match="there is no conversation 77") as missing:
        run(lambda client: client.conversation(77), server.port)
    assert (missing.value.status, missing.value.title) == (404, "Not Found")

    with pytest.raises(RefusedError, match=r"body\.name \(String should have at least 1 char"):
        run(lambda client: client.create_config(name="", model_name="m"), server.port)

    async def send_twice(client: ChatClient) -> None:
        conversation = server.conversation()
        fake.does(rate=20, tokens=400)
        first = client.send(conversation, "one")
        turn = await anext(first)
        assert isinstance(turn, Turn)
        with pytest.raises(RefusedError, match="still running") as busy:
            await anext(client.send(conversation, "two"))
        assert busy.value.status == 409
        await client.stop(conversation, turn.reply_id)
        assert isinstance([event async for event in first][-1], Done)

    run(send_twice, server.port)


def test_another_program_at_the_address_is_no_chat_server(fake: Fake) -> None:
    with pytest.raises(RefusedError, match="the answer was HTTP 404"):
        run(lambda client: client.configs(), fake.port)


def test_an_answer_of_another_shape_is_no_chat_server() -> None:
    async def ask() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n[42]")
            await writer.drain()
            writer.close()

        other = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = other.sockets[0].getsockname()[1]
        async with other, ChatClient(f"http://127.0.0.1:{port}", KEY) as client:
            await client.health()

    with pytest.raises(AwayError, match="is no chat server"):
        asyncio.run(ask())


def test_a_wrong_key_is_said_with_the_remedy(server: Chat) -> None:
    async def ask() -> None:
        async with ChatClient(f"http://127.0.0.1:{server.port}", "wrong") as client:
            await client.configs()

    with pytest.raises(RefusedError, match="set CHAT_API_KEY"):
        asyncio.run(ask())


def test_lists_are_whole_although_the_server_gives_them_in_pieces(server: Chat) -> None:
    made = [server.conversation(title=f"number {i}") for i in range(105)]
    turn = server.ask(made[3], "빗물은 어디로 흐르나요")

    shown, more = run(lambda client: client.conversations(103), server.port)
    last_used_first = [made[3], *(each for each in reversed(made) if each != made[3])]
    assert [each.id for each in shown] == last_used_first[:103]
    assert more
    shown, more = run(lambda client: client.conversations(200), server.port)
    assert len(shown) == 105
    assert not more
    shown, more = run(lambda client: client.conversations(30, "흐르 빗물"), server.port)
    assert [each.id for each in shown] == [turn["reply"]["conversation_id"]]
    assert not more


def test_events_come_in_groups_and_an_error_comes_last() -> None:
    async def events() -> AsyncGenerator[Event]:
        for i in range(50):
            yield Delta(str(i))
            if i == 20:
                await asyncio.sleep(0.05)
        raise AwayError("gone")

    async def collect() -> tuple[list[list[Event]], str]:
        groups: list[list[Event]] = []
        try:
            async for group in in_groups(events(), 0.01):
                groups.append(group)  # noqa: PERF401 - what came before the error counts
        except AwayError as exc:
            return groups, str(exc)
        return groups, ""

    groups, error = asyncio.run(collect())

    assert error == "gone"
    assert 1 < len(groups) < 10
    assert text_of([event for group in groups for event in group]) == "".join(map(str, range(50)))
