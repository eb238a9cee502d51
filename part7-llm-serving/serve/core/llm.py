"""The one client of model servers: any server with the OpenAI protocol, in a stated order.

What is retried, is retried before the first token only: after it, a retry would begin the answer
again. A call that is given up closes its connection, which is how model servers hear of it.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson

from serve.core import metrics
from serve.core.breaker import Breaker
from serve.core.config import Settings
from serve.core.errors import (
    ModelAwayError,
    ModelBusyError,
    ModelError,
    ModelRefusedError,
    ModelSlowError,
)
from serve.core.llm_answer import Answer, cut_as_model_error
from serve.core.llm_request import Asked
from serve.core.tracing import Call

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0  # also of a Retry-After that asks for more


class LlmClient:
    """Asks model servers; made in the event loop, closed when the server stops."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key = settings.llm_api_key.get_secret_value()
        self.breakers = {
            url: Breaker(url, settings.llm_breaker_failures, settings.llm_breaker_seconds)
            for url in settings.llm_urls
        }
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.llm_connect_seconds),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    @asynccontextmanager
    async def open(self, asked: Asked, call: Call) -> AsyncIterator[Answer]:
        """Ask, and give the answer when its first token is there.

        Raises:
            ModelError: nobody gave one.
        """
        endpoint, answer = await self._first_that_answers(asked, call)
        call.answered(answer)
        try:
            yield answer
        except ModelError as exc:
            self._count_failure(endpoint, exc, call)
            raise
        finally:
            answer.close()

    async def models(self) -> list[str]:
        """What the first endpoint that answers calls its models.

        Raises:
            ModelError: nobody answers.
        """
        failure: ModelError = ModelAwayError("no model server answers")
        for url in self.breakers:
            try:
                async with asyncio.timeout(self._settings.llm_connect_seconds):
                    async with self._session.get(f"{url}/models", headers=self._headers("")) as got:
                        listed = orjson.loads(await got.read())
                        return [str(each["id"]) for each in listed["data"]]
            except (aiohttp.ClientError, TimeoutError) as exc:
                failure = ModelAwayError(f"no model server at {url} ({type(exc).__name__})")
            except (orjson.JSONDecodeError, LookupError, TypeError):
                failure = ModelError(f"what answers at {url} lists no models")
        raise failure

    async def count_tokens(self, text: str) -> int | None:
        """Ask the first endpoint's tokenizer; None where it has none.

        It is no part of the OpenAI protocol, and lies beside it: llama.cpp calls the text
        `content`, vLLM `prompt`.
        """
        url = next(iter(self.breakers)).removesuffix("/v1")
        body = {"content": text, "prompt": text, "model": self._settings.llm_model}
        try:
            async with asyncio.timeout(self._settings.llm_connect_seconds):
                async with self._session.post(
                    f"{url}/tokenize", data=orjson.dumps(body), headers=self._headers("")
                ) as got:
                    if got.status != 200:
                        return None
                    return len(orjson.loads(await got.read())["tokens"])
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
            return None

    async def _first_that_answers(self, asked: Asked, call: Call) -> tuple[str, Answer]:
        failure: ModelError = ModelAwayError(
            "no model server is asked now: each of them has failed again and again"
        )
        for url, breaker in self.breakers.items():
            for attempt in range(self._settings.llm_retries + 1):
                if not breaker.admit():
                    break
                try:
                    answer = await self._ask(url, asked, call)
                except (ModelRefusedError, asyncio.CancelledError):
                    breaker.gave_up()
                    raise
                except ModelError as exc:
                    failure = exc
                    breaker.failed()
                    self._count_failure(url, exc, call)
                    if isinstance(exc, ModelSlowError):
                        break  # the next endpoint may be quicker; this one had its time
                    if attempt < self._settings.llm_retries:
                        await asyncio.sleep(_pause(attempt, exc))
                else:
                    breaker.succeeded()
                    return url, answer
        raise failure

    async def _ask(self, url: str, asked: Asked, call: Call) -> Answer:
        """One attempt: until its first token."""
        settings = self._settings
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(settings.llm_first_token_seconds):
                with cut_as_model_error(url):
                    response = await self._session.post(
                        f"{url}/chat/completions",
                        data=asked.body(),
                        headers=self._headers(asked.request_id) | call.headers,
                    )
                    if response.status != 200:
                        raise await _refusal(url, response)
                    answer = Answer(url, response, settings.llm_idle_seconds)
                    await answer.wait_for_first()
                    return answer
        except TimeoutError:
            _close(response)
            raise ModelSlowError(
                f"{url} gave no token within {settings.llm_first_token_seconds:g} s"
            ) from None
        except BaseException:
            _close(response)
            raise

    def _headers(self, request_id: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if request_id:
            headers["X-Request-ID"] = request_id
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return headers

    def _count_failure(self, url: str, exc: ModelError, call: Call) -> None:
        metrics.MODEL_FAILURES.labels(url, exc.kind).inc()
        call.attempt_failed(url, exc)


def _close(response: aiohttp.ClientResponse | None) -> None:
    if response is not None:
        response.close()


async def _refusal(url: str, response: aiohttp.ClientResponse) -> ModelError:
    """What a status other than 200 means."""
    said = ""
    try:
        error = orjson.loads(await response.read())["error"]
        said = f": {error['message']}"[:300]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        pass  # not OpenAI's shape; the status says enough
    text = f"{url} answers HTTP {response.status}{said}"
    if response.status == 429:
        return ModelBusyError(text, _seconds_asked_for(response))
    if response.status == 503:
        return ModelAwayError(text, _seconds_asked_for(response))
    if response.status in {502, 504}:
        return ModelAwayError(text)
    if response.status >= 500:
        return ModelError(text)
    return ModelRefusedError(text)


def _seconds_asked_for(response: aiohttp.ClientResponse) -> float | None:
    """What Retry-After says, in seconds.

    It may also be a date. Model servers send none, and one that comes from a proxy is only as good
    as its clock agrees with ours: then our own pause is the better guess.
    """
    wait = response.headers.get("Retry-After", "")
    return float(wait) if wait.isdecimal() else None


def _pause(attempt: int, exc: ModelError) -> float:
    """Longer each time, and never the same for all who wait."""
    if exc.wait_seconds is not None:
        return min(exc.wait_seconds, LONGEST_PAUSE)
    return min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
