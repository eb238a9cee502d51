"""Ask model servers and the chat server for replies, and take the time."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

KEY = "sk-8c1f0d5b7e2a4963b0d47f6a91e35c28"  # of the bench's own servers; some refuse short ones
HEADERS = {
    "Content-Type": "application/json",
    "X-API-Key": KEY,
    "Authorization": f"Bearer {KEY}",
}
QUESTION = "What does a model registry keep?"
COMPLETION = {"model": "fake-model", "messages": [{"role": "user", "content": QUESTION}]}


@dataclass
class Taken:
    """What a load has measured."""

    first: list[float] = field(default_factory=list)  # seconds to the first token
    replies: int = 0
    broken: int = 0
    seconds: float = 0.0
    # The tokens that came while all streams ran, without the beginning and the end of the load.
    window: tuple[float, float] = (0.0, float("inf"))
    tokens: float = 0.0

    def within(self, moment: float) -> bool:
        """Whether it lies in the window."""
        return self.window[0] <= moment < self.window[1]

    @property
    def tokens_per_second(self) -> float:
        """In the window."""
        return self.tokens / (self.window[1] - self.window[0])


class Client:
    """Talks to one server; `ask` and `stream` are a reply of it, whole or in pieces."""

    def __init__(self, port: int, *, chat: bool) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._chat = chat
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=300)
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()

    async def conversation(self) -> int:
        """A new conversation of the chat server."""
        async with self.http.post(
            f"{self._base}/api/v1/conversations", data=b"{}", headers=HEADERS
        ) as answer:
            return int(orjson.loads(await answer.read())["id"])

    async def ask(self, conversation: int | None, taken: Taken) -> None:
        """One whole reply."""
        url, body = self._request(conversation, stream=False)
        async with self.http.post(url, data=body, headers=HEADERS) as answer:
            said = await answer.read()
        if answer.status not in {200, 201} or b"a river takes what" not in said:
            taken.broken += 1
            return
        taken.replies += 1

    async def stream(self, conversation: int | None, taken: Taken, tokens: int) -> None:
        """One reply in pieces, which must have all its tokens."""
        url, body = self._request(conversation, stream=True)
        mark = b"event: delta" if self._chat else b'"content"'
        begun = time.perf_counter()
        first = None
        pieces = []
        inside = 0
        async with self.http.post(url, data=body, headers=HEADERS) as answer:
            async for piece in answer.content.iter_any():
                now = time.perf_counter()
                if first is None and mark in piece:
                    first = now - begun
                pieces.append(piece)
                inside += len(piece) * taken.within(now)
        whole = b"".join(pieces)
        came = _words(whole, chat=self._chat)
        taken.tokens += came * inside / len(whole)
        if first is None or came != tokens:
            taken.broken += 1
            return
        taken.replies += 1
        if taken.within(begun):
            taken.first.append(first)

    def _request(self, conversation: int | None, *, stream: bool) -> tuple[str, bytes]:
        if self._chat:
            url = f"{self._base}/api/v1/conversations/{conversation}/messages"
            return url, orjson.dumps({"content": QUESTION, "stream": stream})
        body: dict[str, Any] = COMPLETION | {"stream": stream}
        return f"{self._base}/v1/chat/completions", orjson.dumps(body)


def _words(stream: bytes, *, chat: bool) -> int:
    """How many words the fake model server's reply has."""
    text = ""
    for event in stream.split(b"\n\n"):
        data = event.rpartition(b"data: ")[2]
        if chat and b"event: delta" in event:
            text += orjson.loads(data)["text"]
        elif not chat and data.startswith(b"{") and (choices := orjson.loads(data)["choices"]):
            text += choices[0]["delta"].get("content", "")
    return len(text.split())


async def until(
    seconds: float, streams: int, spread: float, once: Callable[[], Awaitable[None]], taken: Taken
) -> None:
    """Run `once` again and again, `streams` at a time, for so long; they begin apart."""
    begun = time.perf_counter()
    taken.window = (begun + spread, begun + seconds)

    async def loop() -> None:
        await asyncio.sleep(random.uniform(0, spread))
        while time.perf_counter() - begun < seconds:
            await once()

    await asyncio.gather(*(loop() for _ in range(streams)))
    taken.seconds = time.perf_counter() - begun


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
