"""A model server that does as it is told: an ASGI app with the OpenAI protocol and no model.

Beside the protocol it has `PUT /script` (see `Script`), and `GET /exchanges`, which tells what
became of every request, so that a test can see that nobody was left waiting. `PUT /scripts/NAME`
is for requests whose `model` is NAME; `PUT /gates/NAME` opens a gate that scripts wait at.
"""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from tests.fake_llm.script import Script

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Outcome = Literal["running", "finished", "refused", "cut", "closed by the client"]

MODEL = "fake-model"
GATE_SECONDS = 0.05  # between two looks at a gate
SENTENCE = "a river takes what the rain has left and gives it to the sea"
WORDS = [f" {word}" for word in SENTENCE.split()]
JSON_WORDS = [json.dumps(word).encode() for word in WORDS]


class Exchange(BaseModel):
    """One request, and what became of it."""

    number: int
    stream: bool
    messages: list[dict[str, Any]]
    parameters: dict[str, Any]
    headers: dict[str, str]
    sent_tokens: int = 0
    outcome: Outcome = "running"


class FakeLlm:
    """The ASGI app."""

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or Script()
        self.scripts: dict[str, Script] = {}  # by the model that a request names
        self.open_gates: set[str] = set()
        self.exchanges: deque[Exchange] = deque(maxlen=10_000)
        self._numbers = itertools.count(1)
        self._refused = 0

    @property
    def script(self) -> Script:
        """How it behaves where the model that is asked for has no script of its own."""
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        self._script = script
        self._refused = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        method, path = scope["method"], scope["path"]
        folder, _, name = path.removeprefix("/").partition("/")
        match method, path:
            case "POST", "/v1/chat/completions":
                await self._chat(scope, await _body(receive), receive, send)
            case "POST", "/tokenize" if self.script.tokenizer:
                await _json(send, 200, {"tokens": _tokens(json.loads(await _body(receive)))})
            case "GET", "/v1/models":
                data = [{"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"}]
                await _json(send, 200, {"object": "list", "data": data})
            case "GET", "/health":
                await _json(send, 200, {"status": "ok"})
            case "GET", "/exchanges":
                await _json(send, 200, [each.model_dump() for each in self.exchanges])
            case "PUT", "/script":
                await self._rescript(await _body(receive), send)
            case "PUT", _ if folder == "scripts" and name:
                await self._rescript(await _body(receive), send, name)
            case "PUT", _ if folder == "gates" and name:
                self.open_gates.add(name)
                await _json(send, 200, sorted(self.open_gates))
            case _:
                await _json(send, 404, _error("there is no such path", "not_found"))

    async def _rescript(self, body: bytes, send: Send, name: str | None = None) -> None:
        try:
            script = Script.model_validate_json(body)
        except ValidationError as exc:
            await _json(send, 422, _error(str(exc), "invalid_script"))
            return
        if name is None:
            self.script = script
        else:
            self.scripts[name] = script
        self._refused = 0
        await _json(send, 200, script.model_dump())

    async def _chat(
        self, scope: MutableMapping[str, Any], body: bytes, receive: Receive, send: Send
    ) -> None:
        asked = json.loads(body)
        stream = bool(asked.pop("stream", False))
        exchange = Exchange(
            number=next(self._numbers),
            stream=stream,
            messages=asked.pop("messages"),
            parameters=asked,
            headers={name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
        )
        self.exchanges.append(exchange)
        script = self.scripts.get(str(asked.get("model")), self.script)
        answer = self._stream if stream else self._whole
        if script.status != 200 and (script.refusals is None or self._refused < script.refusals):
            self._refused += 1
            answer = self._refuse
        answering = asyncio.ensure_future(answer(exchange, script, send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                exchange.outcome = "closed by the client"
        finally:
            for task in (answering, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _refuse(self, exchange: Exchange, script: Script, send: Send) -> None:
        while self._is_closed(script, 0):
            await asyncio.sleep(GATE_SECONDS)
        exchange.outcome = "refused"
        headers = {} if script.retry_after is None else {"retry-after": str(script.retry_after)}
        refusal = _error(f"the script says {script.status}", "scripted")
        await _json(send, script.status, refusal, headers)

    async def _stream(self, exchange: Exchange, script: Script, send: Send) -> None:
        while self._is_closed(script, 0):
            await asyncio.sleep(GATE_SECONDS)
        await _start(send, 200, {"content-type": "text/event-stream; charset=utf-8"})
        head, tail = _around(exchange.number)
        wants_usage = (exchange.parameters.get("stream_options") or {}).get("include_usage")
        async for word in self._words(exchange, script):
            if not word:
                await _part(send, b": waiting\n\n")
                continue
            await _part(send, b"".join((head, word, tail)))
            exchange.sent_tokens += 1
            if exchange.sent_tokens == script.malformed_after:
                await _part(send, b'data: {"choices": [{"delta": \n\n')
        if exchange.outcome == "cut":
            return  # uvicorn closes the connection of an answer that is not complete
        await _part(send, _event(exchange.number, {}, _finish(exchange, script)))
        if wants_usage and script.usage:
            chunk = _chunk(exchange.number, []) | {"usage": _usage(exchange)}
            await _part(send, b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        exchange.outcome = "finished"

    async def _whole(self, exchange: Exchange, script: Script, send: Send) -> None:
        text = ""
        async for word in self._words(exchange, script):
            if not word:
                continue
            text += json.loads(word)
            exchange.sent_tokens += 1
        if exchange.outcome == "cut":
            await _start(send, 200, {"content-type": "application/json", "content-length": "9999"})
            await _part(send, b'{"id": ')
            return
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": _finish(exchange, script)}
        answer = _chunk(exchange.number, [choice]) | {"object": "chat.completion"}
        if script.usage:
            answer["usage"] = _usage(exchange)
        body = (
            b'{"choices": [' if script.malformed_after is not None else json.dumps(answer).encode()
        )
        await _start(send, 200, {"content-type": "application/json"})
        await send({"type": "http.response.body", "body": body})
        exchange.outcome = "finished"

    async def _words(self, exchange: Exchange, script: Script) -> AsyncIterator[bytes]:
        """The tokens as JSON strings, each when it is due; nothing while a gate is closed."""
        begun = time.perf_counter() + script.first_token
        if script.first_token and script.hang_after != 0:
            await asyncio.sleep(script.first_token)
        for i in range(_length(exchange, script)):
            while self._is_closed(script, i):
                await asyncio.sleep(GATE_SECONDS)
                yield b""
            if i == script.cut_after:
                break
            if i == script.hang_after:
                await asyncio.Event().wait()
            if script.rate and (early := begun + i / script.rate - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            yield JSON_WORDS[i % len(JSON_WORDS)]
        if script.cut_after is not None:
            exchange.outcome = "cut"

    def _is_closed(self, script: Script, tokens: int) -> bool:
        return tokens in script.gates and script.gates[tokens] not in self.open_gates


def _length(exchange: Exchange, script: Script) -> int:
    asked = exchange.parameters.get("max_completion_tokens") or exchange.parameters.get(
        "max_tokens"
    )
    return min(script.tokens, asked) if asked else script.tokens


def _finish(exchange: Exchange, script: Script) -> str:
    return "length" if _length(exchange, script) < script.tokens else "stop"


def _usage(exchange: Exchange) -> dict[str, int]:
    asked = sum(len(str(message.get("content")).split()) for message in exchange.messages)
    done = exchange.sent_tokens
    return {"prompt_tokens": asked, "completion_tokens": done, "total_tokens": asked + done}


def _chunk(number: int, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": choices,
    }


def _event(number: int, delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps(_chunk(number, [choice])).encode() + b"\n\n"


def _around(number: int) -> tuple[bytes, bytes]:
    """What comes before and after the token in an event: encoded once for all tokens."""
    head, _, tail = _event(number, {"content": "@"}).partition(b'"@"')
    return head, tail


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "fake_llm", "code": code}}


def _tokens(asked: dict[str, Any]) -> list[int]:
    """Whatever the text is, a token for each word: llama.cpp calls it content, vLLM prompt."""
    return list(range(len(str(asked.get("content", asked.get("prompt", ""))).split())))


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _json(send: Send, status: int, answer: object, headers: dict[str, str] = {}) -> None:  # noqa: B006
    await _start(send, status, {"content-type": "application/json"} | headers)
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
