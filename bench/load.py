"""Ask an HTTP server as fast as it answers, over connections that stay open, and check each answer.

It runs in a process of its own: `ask` starts `python -m bench.load`, hands it a Load as JSON and
reads an Outcome. One connection has one request under way (closed loop), so that the server is
never asked more than it can do, and the time of a request is not that of a queue before it.
"""

import asyncio
import gc
import json
import re
import subprocess
import sys
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import cast

from bench.cores import pinned

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """Whom to ask, what, and for how long."""

    port: int
    path: str
    bodies: list[str]  # asked in turn
    expected: list[str]  # of each body: the classes of its rows, one digit per row
    pattern: str  # finds these digits in an answer
    connections: int
    seconds: float
    warm_up: float


@dataclass(frozen=True)
class Outcome:
    """What came back in `seconds`, after the warm-up."""

    seconds: float
    statuses: dict[str, int]  # "2xx": how many
    wrong: int  # 2xx answers whose classes are not those expected, in the warm-up too
    broken: int  # connections that the server ended
    p50_ms: float
    p99_ms: float
    cpu: float  # share of its core that the load itself took
    answers: int  # all of them, those of the warm-up too

    @property
    def good(self) -> int:
        """Answers that are right."""
        return self.statuses.get("2xx", 0) - self.wrong

    @property
    def bad(self) -> int:
        """Answers that are not 2xx, or wrong, or did not come."""
        return sum(self.statuses.values()) - self.good + self.broken

    @property
    def per_second(self) -> float:
        """Right answers per second."""
        return self.good / self.seconds


def ask(load: Load, core: int | None) -> Outcome:
    """Run `load` on `core`; what the warm-up brings is checked but not counted."""
    with pinned(core):
        child = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for us; we stop it
        )
    try:
        answer, _ = child.communicate(
            json.dumps(asdict(load)), timeout=load.warm_up + load.seconds + 60
        )
    finally:
        child.kill()
        child.wait()
    if child.returncode != 0:
        raise SystemExit(f"the load on port {load.port} ended with {child.returncode}")
    return Outcome(**json.loads(answer))


class _Run:
    """What all connections share: the requests in turn, and the score."""

    def __init__(self, load: Load) -> None:
        encoded = [_request(load, body) for body in load.bodies]
        pairs = zip(encoded, (text.encode() for text in load.expected), strict=True)
        self.turn = cycle(pairs)
        self.find = re.compile(load.pattern.encode()).findall
        self.over = False
        self.broken = self.wrong = 0
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self.statuses: Counter[bytes] = Counter()
        self.times = array("q")  # nanoseconds
        self.begun = time.perf_counter()
        self.cpu_begun = time.process_time()


class _Connection(asyncio.Protocol):
    """Asks, waits for the whole answer, asks again."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one, but no subclass
        self._ask()

    def _ask(self) -> None:
        request, self.expected = next(self.run.turn)
        self.begun = time.perf_counter_ns()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.came = data = self.came + data if self.came else data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(data, 0, end)
        if not (
            len(data) >= end + 4 + int(length[1]) if length else data.endswith(LAST_CHUNK, end + 4)
        ):
            return
        run = self.run
        run.times.append(time.perf_counter_ns() - self.begun)
        status = data[9:10]
        run.statuses[status] += 1
        if status == b"2" and b"".join(run.find(data, end)) != self.expected:
            run.wrong += 1
        self.came = b""
        if not run.over:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.run.over:
            self.run.broken += 1


def _request(load: Load, body: str) -> bytes:
    head = (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode("ascii")


async def _drive(load: Load) -> Outcome:
    loop = asyncio.get_running_loop()
    run = _Run(load)
    made = [
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", load.port)
        for _ in range(load.connections)
    ]
    await asyncio.sleep(load.warm_up)
    before = len(run.times)
    run.begin()
    await asyncio.sleep(load.seconds)
    run.over = True
    seconds = time.perf_counter() - run.begun
    cpu = time.process_time() - run.cpu_begun
    times = sorted(run.times)
    for transport, _ in made:
        transport.close()
    return Outcome(
        seconds=seconds,
        statuses={f"{digit.decode()}xx": count for digit, count in run.statuses.items()},
        wrong=run.wrong,
        broken=run.broken,
        p50_ms=_percentile(times, 0.50),
        p99_ms=_percentile(times, 0.99),
        cpu=cpu / seconds,
        answers=before + len(times),
    )


def _percentile(times: list[int], share: float) -> float:
    return times[min(int(len(times) * share), len(times) - 1)] / 1e6 if times else float("nan")


def main() -> None:
    """Read a Load from standard input, write its Outcome to standard output."""
    load = Load(**json.load(sys.stdin))
    gc.disable()  # a pause of ours would be a slow answer of theirs
    try:
        import uvloop
    except ImportError:  # Windows
        outcome = asyncio.run(_drive(load))
    else:
        outcome = uvloop.run(_drive(load))
    json.dump(asdict(outcome), sys.stdout)


if __name__ == "__main__":
    main()
