"""How many turns SQLite takes from many writers at once: what the chat server writes, alone.

uv run python -m bench.chat_store [--writers 32] [--seconds 5]
"""

import asyncio
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1] / "part7-llm-serving"))

from serve.cruds import conversations, orphans, turns
from serve.cruds.turns import Question
from serve.database import Database
from serve.migrations.run import migrate
from serve.models import ReplyConfig, Status

ANSWER = "a river takes what the rain has left and gives it to the sea " * 8


def measure(
    writers: Annotated[int, typer.Option(min=1)] = 32,
    seconds: Annotated[float, typer.Option(min=0.1)] = 5.0,
) -> None:
    """Write turns into an empty database, and say how many a second it took."""
    rate, failures, gaps = asyncio.run(turns_per_second(writers, seconds))
    print(f"{writers} writers: {rate:,.0f} turns/s, {failures} failures, {gaps} gaps")


async def turns_per_second(writers: int, seconds: float) -> tuple[float, int, int]:
    """Turns per second, how many failed, and in how many conversations a number is missing."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'chat.db'}"
        migrate(url, 10)
        database = Database(url)
        done = failed = 0
        end = time.perf_counter() + seconds

        async def write() -> None:
            nonlocal done, failed
            made = await database.write(
                lambda session: conversations.add(session, None, None, None).id
            )
            while time.perf_counter() < end:
                begin = partial(
                    turns.begin,
                    conversation_id=made,
                    question=Question("What does a registry keep?", "What does a registry keep?"),
                    owner="bench",
                    default=ReplyConfig("m"),
                )
                try:
                    begun = await database.write(begin)
                    finish = partial(
                        turns.finish, reply_id=begun.reply_id, status=Status.COMPLETE, text=ANSWER
                    )
                    assert await database.write(finish)
                except Exception:  # noqa: BLE001 - whatever it is, it is counted
                    failed += 1
                else:
                    done += 1
                if begun.reply_id % 20 == 0:  # as long as conversations are
                    made = await database.write(
                        lambda session: conversations.add(session, None, None, None).id
                    )

        begun_at = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(writers)))
        took = time.perf_counter() - begun_at
        gaps = await database.read(orphans.conversations_with_gaps)
        database.close()
        return done / took, failed, gaps


if __name__ == "__main__":
    typer.run(measure)
