"""Events in groups, as fast as a page can draw and no faster."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from demo.stream import Event


async def in_groups(events: AsyncGenerator[Event], seconds: float) -> AsyncGenerator[list[Event]]:
    """Yield what has come since the last time, at most once every `seconds`.

    Reading goes on meanwhile: a model is faster than a page, and the text would lag behind.
    """
    waiting: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

    async def read() -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    waiting.put_nowait(event)
        except Exception as exc:  # noqa: BLE001 - it is raised where the events are taken
            waiting.put_nowait(exc)
        else:
            waiting.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while True:
            group = [await waiting.get()]
            while not waiting.empty():
                group.append(waiting.get_nowait())
            if come := [each for each in group if each and not isinstance(each, Exception)]:
                yield come
            if group[-1] is None:
                return
            if isinstance(group[-1], Exception):
                raise group[-1]
            await asyncio.sleep(seconds)
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
