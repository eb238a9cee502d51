"""Send requests at a steady rate, whether or not the server keeps up.

Request k is due k / rate seconds after the begin, and its latency counts from then: a server that
stands still for a second has made everybody wait who would have asked in that second, also those
whose request could not even be sent.
"""

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import stamina

from part6.command import BadUsageError

# It reports every single request otherwise.
logging.getLogger("httpx2").setLevel(logging.WARNING)
log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
SAY_BEHIND_SECONDS = 1.0
AFTER_SWAP_SECONDS = 1.0
# Before a lost request is sent again. At once, for a connection that was only old. Then a moment
# later: a process that was killed closes its connections before it stops to accept new ones.
AGAIN_SECONDS = (0.0, 0.5)
LOST = "lost connection"
LATE = f"no answer in {TIMEOUT_SECONDS:g} s"
STRANGE = "200, but no prediction"

# The server closed a connection that was open, as it may: at its restart, or after a pause.
CLOSED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError, httpx2.CloseError)
NOT_THERE = (httpx2.ConnectError, httpx2.ConnectTimeout)


@dataclass(frozen=True)
class Request:
    """A JSON body and the true classes of its rows."""

    body: bytes
    labels: list[int]


@dataclass
class Tally:
    """What came back."""

    answers: Counter[str] = field(default_factory=Counter)  # by status, or what went wrong
    versions: Counter[int] = field(default_factory=Counter)  # rows, in order of appearance
    correct: int = 0
    predicted: int = 0
    latencies: list[float] = field(default_factory=list)  # seconds, from when it was due
    retried: int = 0
    refusal: str = ""  # the first answer that was not 200, in its own words
    sent_seconds: float = 0.0  # from the begin until the last one was sent
    behind_seconds: float = 0.0  # how late the last one was sent
    gone: bool = False  # the server went away and did not come back


@dataclass(frozen=True)
class Target:
    """Where to, how fast, over how many connections."""

    url: str
    path: str
    rate: float
    connections: int
    wait_seconds: float
    until_swap: bool = False  # stop soon after another version has begun to answer


async def send_all(
    target: Target, requests: Iterator[Request], advance: Callable[[], object]
) -> Tally:
    """Send every one of `requests`, until SIGINT or SIGTERM; call `advance` after each answer.

    Raises:
        BadUsageError: the address cannot be one.
    """
    try:
        port = httpx2.URL(target.url).port
    except httpx2.InvalidURL as exc:
        raise BadUsageError(f"MODEL_API_URL is {target.url!r}: {exc}") from exc
    if port is not None and not 0 < port < 65536:
        raise BadUsageError(f"MODEL_API_URL is {target.url!r}: there is no port {port}")
    stop = asyncio.Event()
    sending = _Sending(target, requests, advance, stop)
    with _on_signal(stop.set):
        await sending.run()
    return sending.tally


@contextmanager
def _on_signal(act: Callable[[], None]) -> Iterator[None]:
    """Inside this block SIGINT and SIGTERM call `act` in the event loop."""
    loop = asyncio.get_running_loop()
    before = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(act))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Sending:
    """One run: the connections take the next request each, when it is due."""

    def __init__(
        self,
        target: Target,
        requests: Iterator[Request],
        advance: Callable[[], object],
        stop: asyncio.Event,
    ) -> None:
        self.tally = Tally()
        self._target = target
        # Made once, because it reads all root certificates.
        self._certificates = httpx2.create_ssl_context()
        self._requests = enumerate(requests)
        self._advance = advance
        self._stop = stop
        self._begun = 0.0
        self._waiting_said = self._behind_said = self._swap_seen = False

    async def run(self) -> None:
        async with self._client() as client:
            try:
                await self._patiently(client, "GET", "/health/live")
            except NOT_THERE:
                self.tally.gone = not self._stop.is_set()
                return
            except httpx2.HTTPError:  # somebody is there, and the first request will tell who
                pass
        self._begun = time.perf_counter()
        async with asyncio.TaskGroup() as connections:
            for _ in range(self._target.connections):
                connections.create_task(self._connection())

    def _client(self) -> httpx2.AsyncClient:
        """Make a client of one connection: a second try gets a new one, not another old one."""
        return httpx2.AsyncClient(
            base_url=self._target.url,
            limits=httpx2.Limits(max_connections=1),
            timeout=TIMEOUT_SECONDS,
            verify=self._certificates,
        )

    async def _connection(self) -> None:
        async with self._client() as client:
            await self._send_through(client)

    async def _send_through(self, client: httpx2.AsyncClient) -> None:
        while not self._stop.is_set():
            number, request = next(self._requests, (0, None))
            if request is None:
                return
            due = self._begun + number / self._target.rate
            if (early := due - time.perf_counter()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), early)
                    return
            self._note_sent(due)
            try:
                answer = await self._post(client, request)
            except NOT_THERE:
                self.tally.gone = self.tally.gone or not self._stop.is_set()
                self._stop.set()
                return
            self.tally.latencies.append(time.perf_counter() - due)
            self._count(answer, request)
            self._advance()

    def _note_sent(self, due: float) -> None:
        now = time.perf_counter()
        self.tally.sent_seconds = now - self._begun
        self.tally.behind_seconds = now - due
        if now - due > SAY_BEHIND_SECONDS and not self._behind_said:
            self._behind_said = True
            log.warning(
                "%.1f s behind: the server does not answer %g requests per second over %d "
                "connections",
                now - due,
                self._target.rate,
                self._target.connections,
            )

    async def _post(self, client: httpx2.AsyncClient, request: Request) -> httpx2.Response | str:
        """Send `request`, again if its connection was lost; or say what went wrong."""
        for pause in (*AGAIN_SECONDS, None):
            try:
                return await self._patiently(client, "POST", self._target.path, request.body)
            except NOT_THERE:
                raise
            except CLOSED:
                if pause is not None:
                    # To predict twice does no harm, so it may be asked again.
                    self.tally.retried += 1
                    await asyncio.sleep(pause)
            except httpx2.TimeoutException:
                return LATE
            except httpx2.HTTPError as exc:  # of a proxy, of an answer that cannot be decoded
                return type(exc).__name__
        return LOST

    async def _patiently(
        self, client: httpx2.AsyncClient, method: str, path: str, body: bytes | None = None
    ) -> httpx2.Response:
        """Ask; wait for a server that is not there, but not for ever and not after a signal."""
        attempts = stamina.retry_context(
            on=lambda exc: isinstance(exc, NOT_THERE) and not self._stop.is_set(),
            attempts=None,
            timeout=self._target.wait_seconds,
            wait_initial=0.1,
            wait_max=1.0,
        )
        headers = {"Content-Type": "application/json"}
        async for attempt in attempts:
            with attempt:
                if attempt.num > 1 and not self._waiting_said:
                    self._waiting_said = True
                    log.info("waiting for the model API at %s ...", self._target.url)
                return await client.request(method, path, content=body, headers=headers)
        raise AssertionError("stamina ends with an answer or an exception")

    def _count(self, answer: httpx2.Response | str, request: Request) -> None:
        if isinstance(answer, str):
            self.tally.answers[answer] += 1
            return
        if answer.status_code != httpx2.codes.OK:
            self.tally.answers[str(answer.status_code)] += 1
            self.tally.refusal = self.tally.refusal or _detail(answer)
            return
        try:
            version, classes = _prediction(answer.json())
            if len(classes) != len(request.labels):
                raise ValueError(classes)
        except (AttributeError, KeyError, TypeError, ValueError):  # somebody else listens there
            self.tally.answers[STRANGE] += 1
            return
        self.tally.answers["200"] += 1
        self.tally.versions[version] += len(classes)
        self.tally.predicted += len(classes)
        if self._target.until_swap and len(self.tally.versions) > 1 and not self._swap_seen:
            self._swap_seen = True
            asyncio.get_running_loop().call_later(AFTER_SWAP_SECONDS, self._stop.set)
        self.tally.correct += sum(
            said == label for said, label in zip(classes, request.labels, strict=True)
        )


def _prediction(answer: dict[str, Any]) -> tuple[int, list[int]]:
    rows = answer.get("predictions", [answer])
    return answer["model_version"], [row["iris_class"] for row in rows]


def _detail(answer: httpx2.Response) -> str:
    """Return what a problem document says, or the beginning of what is none."""
    try:
        return str(answer.json()["detail"])
    except (KeyError, TypeError, ValueError):
        return " ".join(answer.text.split())[:100]
