"""A client of the chat server's API."""

import uuid
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

import httpx2
from pydantic import BaseModel, ValidationError

from demo.errors import AwayError, refused
from demo.schemas import Config, ConfigPage, Conversation, ConversationPage, Health, Message, Tree
from demo.stream import Event, Request, TurnStream

PAGE = 100  # the most that the server gives at once
TIMEOUT = httpx2.Timeout(10.0, connect=3.0)
# The reply belongs to the server: whoever closes the page finds it there later.
STREAMED = {"stream": True, "on_disconnect": "continue"}


class ChatClient:
    """Asks the server at `url`; every method may raise AwayError and RefusedError."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.AsyncClient(
            base_url=self.url, headers={"X-API-Key": key}, timeout=TIMEOUT
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def health(self) -> Health:
        """How the server is."""
        return await self._ask(Health, "GET", "/health")

    async def configs(self) -> list[Config]:
        """All configurations."""
        found: list[Config] = []
        path: str | None = f"/api/v1/llm-configs?limit={PAGE}"
        while path:
            page = await self._ask(ConfigPage, "GET", path)
            found, path = found + page.llm_configs, page.next
        return found

    async def create_config(self, **values: object) -> Config:
        """Add a configuration."""
        return await self._ask(Config, "POST", "/api/v1/llm-configs", json=values)

    async def change_config(self, config_id: int, **values: object) -> Config:
        """Change some of a configuration."""
        return await self._ask(Config, "PATCH", f"/api/v1/llm-configs/{config_id}", json=values)

    async def delete_config(self, config_id: int) -> None:
        """Remove a configuration."""
        await self._do("DELETE", f"/api/v1/llm-configs/{config_id}")

    async def conversations(self, limit: int, q: str = "") -> tuple[list[Conversation], bool]:
        """Up to `limit` conversations, the last used first, and whether there are more.

        With `q` only those in which every word of it was said.
        """
        found: list[Conversation] = []
        query: dict[str, str | int] = {"limit": min(limit, PAGE)} | ({"q": q} if q else {})
        path: str | None = f"/api/v1/conversations?{httpx2.QueryParams(query)}"
        while path and len(found) < limit:
            page = await self._ask(ConversationPage, "GET", path)
            found, path = found + page.conversations, page.next
        return found[:limit], bool(path) or len(found) > limit

    async def conversation(self, conversation_id: int) -> Tree:
        """A conversation with every branch."""
        path = f"/api/v1/conversations/{conversation_id}?show=tree"
        return await self._ask(Tree, "GET", path)

    async def create_conversation(self, llm_config_id: int | None) -> Conversation:
        """Begin a conversation; its first message becomes its title."""
        body = {"llm_config_id": llm_config_id}
        return await self._ask(Conversation, "POST", "/api/v1/conversations", json=body)

    async def change_conversation(self, conversation_id: int, **values: object) -> Conversation:
        """Rename it, give it another configuration, or go to another branch."""
        path = f"/api/v1/conversations/{conversation_id}"
        return await self._ask(Conversation, "PATCH", path, json=values)

    async def delete_conversation(self, conversation_id: int) -> None:
        """Remove it with all its messages."""
        await self._do("DELETE", f"/api/v1/conversations/{conversation_id}")

    def send(self, conversation_id: int, content: str) -> AsyncGenerator[Event]:
        """Post a message and follow its reply; once, however often the connection breaks."""
        path = f"/api/v1/conversations/{conversation_id}/messages"
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        request = Request(path, {"content": content, **STREAMED}, headers, repeatable=True)
        return TurnStream(self._http, conversation_id).begin(request)

    def regenerate(self, conversation_id: int, reply_id: int) -> AsyncGenerator[Event]:
        """Ask for another reply beside this one, and follow it."""
        path = f"/api/v1/conversations/{conversation_id}/messages/{reply_id}/regenerate"
        request = Request(path, dict(STREAMED), {}, repeatable=False)
        return TurnStream(self._http, conversation_id).begin(request)

    def edit(self, conversation_id: int, message_id: int, content: str) -> AsyncGenerator[Event]:
        """Say something else at the place of a message, and follow the reply."""
        path = f"/api/v1/conversations/{conversation_id}/messages/{message_id}/edit"
        request = Request(path, {"content": content, **STREAMED}, {}, repeatable=False)
        return TurnStream(self._http, conversation_id).begin(request)

    def follow(self, conversation_id: int, reply_id: int) -> AsyncGenerator[Event]:
        """Follow a reply from its beginning."""
        return TurnStream(self._http, conversation_id).follow(reply_id)

    async def stop(self, conversation_id: int, reply_id: int) -> Message:
        """End a reply that is running; its text stays."""
        path = f"/api/v1/conversations/{conversation_id}/messages/{reply_id}/stop"
        return await self._ask(Message, "POST", path)

    async def feedback(self, conversation_id: int, reply_id: int, thumb: str | None) -> Message:
        """Keep a thumb with a reply, or take it back with None."""
        path = f"/api/v1/conversations/{conversation_id}/messages/{reply_id}/feedback"
        return await self._ask(Message, "PUT", path, json={"thumb": thumb})

    async def _ask[Answer: BaseModel](
        self, answer: type[Answer], method: str, path: str, json: object = None
    ) -> Answer:
        """What the server answers; for the errors see `_do`."""
        body = (await self._do(method, path, json)).content
        try:
            return answer.model_validate_json(body)
        except ValidationError as exc:
            raise AwayError(f"what answers at {self.url} is no chat server") from exc

    async def _do(self, method: str, path: str, json: object = None) -> httpx2.Response:
        """Send a request.

        Raises:
            AwayError: nobody answers.
            RefusedError: the server will not do it.
        """
        try:
            answer = await self._http.request(method, path, json=json)
        except httpx2.TransportError as exc:
            raise AwayError(f"{self.url} does not answer") from exc
        if answer.is_error:
            raise refused(answer)
        return answer
