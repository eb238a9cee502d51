"""Try all models and clients at one place, at once; the order of events is in expectations.py."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fake_llm.app import Exchange
from tests.part7.faults.cells import (
    NO_TOKEN,
    Client,
    Database,
    Model,
    Place,
    Server,
    Turn,
    turns_at,
)
from tests.part7.faults.clients import Seen, TurnClient, open_session
from tests.part7.faults.databases import Trouble, database_for, server_on
from tests.part7.faults.expectations import (
    HELD,
    RETRIES,
    SCRIPTS,
    TROUBLE,
    expected,
    text_of_tokens,
)
from tests.part7.servers import ChatProcess, Fake
from tests.waiting import PATIENCE

NEVER = "300"
# Time enough to come to step 6 while nothing has timed out yet.
TIMEOUTS = {
    Server.RUNS: {"LLM_FIRST_TOKEN_SECONDS": "12", "LLM_IDLE_SECONDS": "2"},
    Server.STOPS: {
        "LLM_FIRST_TOKEN_SECONDS": NEVER,
        "LLM_IDLE_SECONDS": NEVER,
        "DRAIN_SECONDS": "5",
    },
    Server.DIES: {"LLM_FIRST_TOKEN_SECONDS": NEVER, "LLM_IDLE_SECONDS": NEVER},
}
OUTCOMES = ("complete", "stopped", "interrupted", "failed")


@dataclass
class Observed:
    """What was seen of one turn, from every side."""

    turn: Turn
    seen: Seen
    conversation: dict[str, Any]
    exchanges: list[Exchange]

    @property
    def reply(self) -> dict[str, Any]:
        """The row of the reply."""
        message: dict[str, Any] = self.conversation["messages"][-1]
        return message


@dataclass
class Tried:
    """What was seen at a place, and what of it is wrong for all turns together."""

    place: Place
    observed: list[Observed] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Run:
    """One place while it is tried."""

    def __init__(self, place: Place, trouble: Trouble, fake: Fake, chat: ChatProcess) -> None:
        self.tried = Tried(place)
        self._place = place
        self._trouble = trouble
        self._fake = fake
        self._chat = chat
        self._session = open_session(chat.port)
        self._clients: list[TurnClient] = []

    async def try_all(self) -> Tried:
        """Follow the steps of expectations.py."""
        try:
            await self._make_conversations()
            await self._ask_refused()
            await self._ask_others()
            await self._hold()
            await self._count_replies("before the trouble")
            await self._bring_trouble()
            await self._go_on()
            await self._come_back()
            await self._look()
        finally:
            await self._session.close()
        return self.tried

    async def _make_conversations(self) -> None:
        configs = {}
        for model in Model:
            values = {"name": model.value, "model_name": model.value}
            configs[model] = (await self._post("/llm-configs", values))["id"]
        for turn in turns_at(self._place):
            made = await self._post("/conversations", {"llm_config_id": configs[turn.cell.model]})
            self._clients.append(TurnClient(turn, self._session, made["id"]))
        self._empty = (await self._post("/conversations", {}))["id"]

    async def _ask_refused(self) -> None:
        refused = self._those(lambda turn: turn.is_refused)
        await asyncio.to_thread(self._fake.stop)
        for client in refused:
            client.start()
        for client in refused:
            await self._until(lambda c=client: self._count(c), 2)  # type: ignore[misc]
        await asyncio.gather(*(client.end() for client in refused))
        await self._until_final(refused)
        await asyncio.to_thread(self._fake.start)

    async def _ask_others(self) -> None:
        others = self._those(lambda turn: not turn.is_refused)
        for client in others:
            client.start()
        await self._until(self._asked, len(others))
        for client in others:
            if client.turn.stream:
                await client.has_begun.wait()
        leaving = self._those(
            lambda turn: turn.cell.client is Client.LEAVES_BEFORE and not turn.is_refused
        )
        await asyncio.gather(*(client.end() for client in leaving))
        await self._until_final([each for each in leaving if each.turn.policy == "cancel"])

    async def _hold(self) -> None:
        self._fake.app.open_gates.add("first")
        for client in self._those(lambda turn: turn.cell.model not in NO_TOKEN):
            if (await self._reply(client))["status"] == "streaming":
                await self._until(lambda c=client: self._text(c), text_of_tokens(HELD))  # type: ignore[misc]
            if client.turn.stream and client.turn.cell.client is not Client.LEAVES_BEFORE:
                await client.has_token.wait()

    async def _bring_trouble(self) -> None:
        place = self._place
        if place.server is Server.DIES:
            await self._leave_after_the_first_token()
            await self._until_final(self._leaving_after("cancel"))
            await self._count_replies("before the end")
            self._chat.kill()
            return
        await asyncio.to_thread(self._trouble.begin)
        if place.database is not Database.NORMAL:
            await self._try_a_turn(TROUBLE[place.database].status, "the database is in trouble")
        if place.server is Server.STOPS:
            self._chat.terminate()
            await self._until(self._ready, 503)
            if place.database is Database.NORMAL:
                await self._try_a_turn(503, "the server stops")
        await self._leave_after_the_first_token()

    async def _go_on(self) -> None:
        self._fake.app.open_gates.add("rest")
        staying = self._those(lambda turn: turn.cell.client is Client.STAYS)
        slow = self._those(lambda turn: turn.cell.client is Client.READS_SLOWLY)
        for clients in (staying, slow):
            await asyncio.gather(*(each.end() for each in clients if not each.turn.is_refused))
        if self._place.server is Server.STOPS:
            status = await asyncio.to_thread(self._chat.wait)
            self._check("exit status", status, -signal.SIGTERM)
        await asyncio.to_thread(self._trouble.end)

    async def _come_back(self) -> None:
        if self._place.server is Server.RUNS:
            await self._until_final(self._clients)
            return
        await asyncio.to_thread(self._chat.start)

    async def _look(self) -> None:
        await asyncio.to_thread(self._fake.wait_until_idle)
        by_content: dict[str, list[Exchange]] = {}
        for exchange in self._fake.exchanges:
            by_content.setdefault(exchange.messages[-1]["content"], []).append(exchange)
        for client in self._clients:
            conversation = await self._conversation(client)
            asked = by_content.get(client.turn.name, [])
            self.tried.observed.append(Observed(client.turn, client.seen, conversation, asked))
        if self._place.server is Server.RUNS:
            await self._count_replies("at the end")
        for gauge in ("chat_messages_stuck", "chat_seq_gaps", "chat_generations_running"):
            self._check(gauge, await asyncio.to_thread(self._chat.metric, gauge), 0)
        if self._place.server is not Server.RUNS:
            ours = sum(expected(client.turn).by_next_start for client in self._clients)
            series = 'chat_replies_total{outcome="interrupted"}'
            counted = await asyncio.to_thread(self._chat.metric, series)
            self._check(f"{series} of the next start", counted, ours)
        async with self._session.get(f"/api/v1/conversations/{self._empty}") as answer:
            left = (await answer.json())["message_count"]
            self._check("messages of turns that were refused", left, 0)

    # What the steps are made of.

    def _those(self, which: Callable[[Turn], bool]) -> list[TurnClient]:
        return [client for client in self._clients if which(client.turn)]

    def _leaving_after(self, *policies: str) -> list[TurnClient]:
        return self._those(
            lambda turn: turn.cell.client is Client.LEAVES_AFTER and turn.policy in policies
        )

    async def _leave_after_the_first_token(self) -> None:
        leaving = self._leaving_after("continue", "cancel")
        await asyncio.gather(*(client.end() for client in leaving))
        # The database may be in trouble, so it is the model's side that says that they are gone.
        cancelled = {client.turn.name for client in self._leaving_after("cancel")}
        await self._until(lambda: self._running(cancelled), 0)

    async def _try_a_turn(self, status: int, why: str) -> None:
        """A turn that begins now is refused, says when to come again, and leaves nothing behind."""
        path = f"/api/v1/conversations/{self._empty}/messages"
        async with self._session.post(path, json={"content": "is anybody there?"}) as answer:
            self._check(f"a turn while {why}", answer.status, status)
            self._check(f"Retry-After while {why}", "Retry-After" in answer.headers, True)

    async def _count_replies(self, when: str) -> None:
        """The counters say the same as the rows."""
        rows = Counter([(await self._reply(client))["status"] for client in self._clients])
        for outcome in OUTCOMES:
            series = f'chat_replies_total{{outcome="{outcome}"}}'
            counted = await asyncio.to_thread(self._chat.metric, series)
            self._check(f"{series} {when}", counted, rows[outcome])

    def _check(self, what: str, seen: object, wanted: object) -> None:
        if seen != wanted:
            self.tried.wrong.append(f"{what}: {seen!r}, and not {wanted!r}")

    async def _until_final(self, clients: list[TurnClient]) -> None:
        for client in clients:
            await self._until(lambda c=client: self._is_final(c), True)  # type: ignore[misc]

    async def _until(self, what: Callable[[], Any], wanted: object) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while (seen := await what()) != wanted:
            assert asyncio.get_running_loop().time() < deadline, f"{self._place}: still {seen!r}"
            await asyncio.sleep(0.05)

    async def _asked(self) -> int:
        return len(self._fake.exchanges)

    async def _running(self, names: set[str]) -> int:
        running = (each for each in self._fake.exchanges if each.outcome == "running")
        return sum(each.messages[-1]["content"] in names for each in running)

    async def _ready(self) -> int:
        async with self._session.get("/ready") as answer:
            return answer.status

    async def _count(self, client: TurnClient) -> int:
        return len((await self._conversation(client))["messages"])

    async def _is_final(self, client: TurnClient) -> bool:
        return bool((await self._reply(client))["status"] != "streaming")

    async def _text(self, client: TurnClient) -> str:
        return str((await self._reply(client))["content"])

    async def _reply(self, client: TurnClient) -> dict[str, Any]:
        messages: list[dict[str, Any]] = (await self._conversation(client))["messages"]
        return messages[-1]

    async def _conversation(self, client: TurnClient) -> dict[str, Any]:
        path = f"/api/v1/conversations/{client.conversation}?show=tree"
        async with self._session.get(path) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    async def _post(self, path: str, values: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(f"/api/v1{path}", json=values) as answer:
            assert answer.status == 201, await answer.text()
            made: dict[str, Any] = await answer.json()
            return made


def try_place(place: Place, folder: Path, migrated: Path, postgresql: Callable[[], str]) -> Tried:
    """Try everything at one place; `folder` is for its database and its log."""
    fake = Fake()
    try:
        fake.app.scripts = {model.value: script for model, script in SCRIPTS.items()}
        variables = TIMEOUTS[place.server] | {
            "LLM_RETRIES": str(RETRIES),
            "LLM_BREAKER_FAILURES": "1000",  # one model's failures must not close the way to others
        }
        with (
            database_for(place, folder, migrated, postgresql) as trouble,
            server_on(trouble, fake, folder, **variables) as chat,
        ):
            return asyncio.run(_try_all(place, trouble, fake, chat))
    finally:
        fake.stop()


async def _try_all(place: Place, trouble: Trouble, fake: Fake, chat: ChatProcess) -> Tried:
    return await Run(place, trouble, fake, chat).try_all()
