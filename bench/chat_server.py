"""What part 7's chat server adds to a model server, and how it fares beside the LiteLLM proxy.

uv run python -m bench.chat_server
uv run python -m bench.chat_server --repeat 1 --seconds 2 --no-peers

One worker, a fake model server and the load share the machine: the database's threads need a core
beside the event loop's. Every message is kept, every reply is checked.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.console import Console
from rich.table import Table

from bench import peers
from bench.chat_load import KEY, Client, Taken, percentile, until
from bench.chat_store import turns_per_second
from bench.report import save, versions
from bench.servers import ROOT, Server, StartError, started
from course import ports
from tests.conftest import clean_environment

PACKAGES = ("fastapi", "uvicorn", "uvloop", "aiohttp", "sqlalchemy", "pydantic", "orjson")
STREAMS = 200
PACED, FASTER = 100, 130  # tokens per second and stream: what is asked for, and more than comes
STREAM_SECONDS = 6.0  # 600 tokens, as long replies have
TOKENS = 360
IDLE = 500
LITELLM = """\
model_list:
  - model_name: fake-model
    litellm_params: {{model: openai/fake-model, api_base: "http://127.0.0.1:{port}/v1", api_key: x}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


class Bench:
    """The servers of one run, and what was found."""

    def __init__(self, stack: ExitStack, repeat: int, seconds: float) -> None:
        self.stack = stack
        self.repeat = repeat
        self.seconds = seconds
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.fake_port = ports.choose(21_301)
        self.found: dict[str, list[float]] = {}
        self.reach: dict[str, str] = {}
        command = [sys.executable, "-m", "tests.fake_llm", "--port", str(self.fake_port)]
        fake = stack.enter_context(
            started(command, clean_environment(), self.fake_port, None, self._log("fake"))
        )
        fake.wait_until("/health", 60)

    def note(self, what: str, value: float, reach: str = "") -> None:
        """Keep one measured value."""
        self.found.setdefault(what, []).append(value)
        self.reach[what] = reach

    def chat(self, name: str, stack: ExitStack) -> tuple[Server, float]:
        """A chat server with a database of its own, and how long it took to be ready."""
        port = ports.choose(21_401)
        environ = clean_environment() | {
            "CHAT_PORT": str(port),
            "CHAT_API_KEYS": KEY,
            "DATABASE_URL": f"sqlite:///{self.folder / name}.db",
            "LLM_BASE_URL": f"http://127.0.0.1:{self.fake_port}/v1",
            "LLM_MAX_RUNNING": "1000",
            "LLM_IDLE_SECONDS": "600",
            # Traces are made, and nobody takes them: MLflow itself would need a core.
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        }
        begun = time.perf_counter()
        server = stack.enter_context(
            started(
                [sys.executable, "-m", "serve.main"],
                environ,
                port,
                None,
                self._log(name),
                ROOT / "part7-llm-serving",
            )
        )
        server.wait_until("/ready", 60)
        return server, time.perf_counter() - begun

    def litellm(self, stack: ExitStack) -> Server:
        """The LiteLLM proxy, which keeps nothing."""
        binaries = peers.environment("litellm")
        config = self.folder / "litellm.yaml"
        config.write_text(LITELLM.format(port=self.fake_port, key=KEY), encoding="utf-8")
        port = ports.choose(21_501)
        quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        server = stack.enter_context(
            started(
                [str(binaries / "litellm"), f"--config={config}", f"--port={port}"],
                clean_environment() | quiet | {"DISABLE_ADMIN_UI": "true"},
                port,
                None,
                self._log("litellm"),
            )
        )
        server.wait_until("/health/liveliness", 180)
        return server

    async def script(self, **script: Any) -> None:
        """Tell the fake model server what to do."""
        async with (
            aiohttp.ClientSession() as http,
            http.put(f"http://127.0.0.1:{self.fake_port}/script", data=orjson.dumps(script)) as got,
        ):
            assert got.status == 200, await got.text()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def measure(
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions of each measurement.")] = 5,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of a load.")] = 8.0,
    with_peers: Annotated[bool, typer.Option("--peers/--no-peers", help="LiteLLM too.")] = True,
) -> None:
    """Measure, print a table and write JSON."""
    with ExitStack() as stack:
        bench = Bench(stack, repeat, seconds)
        for i in range(repeat):
            with ExitStack() as one:
                server, ready = bench.chat(f"start-{i}", one)
                bench.note("start to /ready (s)", ready, "<= 2.5")
                asyncio.run(_first_token(bench, server))
                bench.note("resident after 300 replies (MB)", server.resident_mb(), "<= 180")
                asyncio.run(_many_streams(bench, server))
            with ExitStack() as one:
                server, _ = bench.chat(f"idle-{i}", one)
                asyncio.run(_idle(bench, server))
        _whole(bench, with_peers=with_peers)
    for _ in range(repeat):
        rate, failures, gaps = asyncio.run(turns_per_second(32, min(seconds, 5.0)))
        bench.note("SQLite, 32 writers (turns/s)", rate, ">= 600")
        bench.note("SQLite, 32 writers: failures and gaps", failures + gaps, "0")
    _show(bench)


async def _first_token(bench: Bench, server: Server) -> None:
    """One stream at a time, directly and through the chat server by turns."""
    await bench.script(tokens=8)
    direct, chat = Client(bench.fake_port, chat=False), Client(server.port, chat=True)
    near, far = Taken(), Taken()
    for i in range(320):
        if i % 10 == 0:
            conversation = await chat.conversation()
        if i == 20:  # both are warm
            near, far = Taken(), Taken()
        await direct.stream(None, near, 8)
        await chat.stream(conversation, far, 8)
    await direct.close()
    await chat.close()
    assert far.broken == near.broken == 0
    for name, share, reach in (("p50", 0.5, "<= 4"), ("p99", 0.99, "<= 15")):
        added = percentile(far.first, share) - percentile(near.first, share)
        bench.note(f"first token, 1 stream: added, {name} (ms)", 1e3 * added, reach)


async def _many_streams(bench: Bench, server: Server) -> None:
    """200 streams at all times, not all begun at once; at a pace, and faster than it can be."""
    near = await _streams(bench, bench.fake_port, PACED, is_chat=False)
    far = await _streams(bench, server.port, PACED, is_chat=True)
    what = f"200 streams of {PACED} tokens/s"
    bench.note(f"{what}: tokens/s", far.tokens_per_second, ">= 15,000")
    bench.note(f"{what}: broken", far.broken, "0")
    for name, share, reach in (("p50", 0.5, ""), ("p99", 0.99, "<= 150")):
        added = percentile(far.first, share) - percentile(near.first, share)
        bench.note(f"{what}: first token, added, {name} (ms)", 1e3 * added, reach)
    most = await _streams(bench, server.port, FASTER, is_chat=True)
    bench.note(f"200 streams of {FASTER} tokens/s: tokens/s", most.tokens_per_second)
    bench.note(f"200 streams of {FASTER} tokens/s: broken", most.broken, "0")


async def _streams(bench: Bench, port: int, rate: int, *, is_chat: bool) -> Taken:
    tokens = int(rate * STREAM_SECONDS)
    await bench.script(tokens=tokens, rate=rate)
    client, taken = Client(port, chat=is_chat), Taken()

    async def once() -> None:
        conversation = await client.conversation() if is_chat else None
        await client.stream(conversation, taken, tokens)

    await until(bench.seconds + STREAM_SECONDS, STREAMS, STREAM_SECONDS, once, taken)
    await client.close()
    return taken


async def _idle(bench: Bench, server: Server) -> None:
    """Streams in which nothing comes after the first token."""
    await bench.script(tokens=TOKENS, hang_after=1)
    client, taken = Client(server.port, chat=True), Taken()
    conversations = [await client.conversation() for _ in range(IDLE)]
    before = server.resident_mb()
    open_streams = [
        asyncio.ensure_future(client.stream(each, taken, TOKENS)) for each in conversations
    ]
    await asyncio.sleep(4)
    grown = server.resident_mb() - before
    for each in open_streams:
        each.cancel()
    await asyncio.wait(open_streams)
    await client.close()
    bench.note("memory of an idle open stream (kB)", 1e3 * grown / IDLE, "<= 60")


def _whole(bench: Bench, *, with_peers: bool) -> None:
    """Whole replies over 32 connections, ours and LiteLLM's by turns."""
    with ExitStack() as stack:
        ours, _ = bench.chat("whole", stack)
        contestants = {"whole replies, 32 connections: ours (1/s)": (ours.port, True)}
        if with_peers:
            try:
                proxy = bench.litellm(stack)
                name = "whole replies, 32 connections: LiteLLM proxy (1/s)"
                contestants[name] = (proxy.port, False)
            except (peers.PeerError, StartError) as exc:
                print(f"litellm: {exc}", file=sys.stderr)
        for _ in range(bench.repeat):
            for name, (port, is_chat) in contestants.items():
                taken = asyncio.run(_replies(bench, port, is_chat=is_chat))
                bench.note(name, taken.replies / taken.seconds, ">= 3 x LiteLLM" if is_chat else "")
                assert taken.broken == 0, name


async def _replies(bench: Bench, port: int, *, is_chat: bool) -> Taken:
    await bench.script(tokens=16)
    client, taken = Client(port, chat=is_chat), Taken()

    async def once() -> None:
        conversation = await client.conversation() if is_chat else None
        for _ in range(5):  # a conversation has some turns
            await client.ask(conversation, taken)

    await until(bench.seconds, 32, 0.1, once, taken)
    await client.close()
    return taken


def _show(bench: Bench) -> None:
    table = Table("what", "median", "all", "reach")
    for what, values in bench.found.items():
        shown = ", ".join(f"{value:,.2f}" for value in values)
        table.add_row(what, f"{statistics.median(values):,.2f}", shown, bench.reach[what])
    Console(width=140).print(table)
    document = {"measured": bench.found, "versions": versions(PACKAGES)}
    save("chat_server", document)


if __name__ == "__main__":
    typer.run(measure)
