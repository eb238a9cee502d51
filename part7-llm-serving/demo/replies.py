"""Replies while they arrive: generators that Gradio draws from."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import gradio as gr

from demo.actions import Shown, id_of
from demo.branches import shown_path
from demo.client import ChatClient
from demo.errors import RefusedError
from demo.layout import DEFAULT, Layout
from demo.pacing import in_groups
from demo.schemas import Message
from demo.stream import Delta, Done, Event, Turn
from demo.views import Changes, Running, Views

DRAW_SECONDS = 0.05  # between two drawings: faster than reading, slower than a page tires

Drawn = AsyncGenerator[Changes]


@dataclass(frozen=True)
class Replies:
    """The actions that last as long as a reply."""

    client: ChatClient
    layout: Layout
    views: Views

    async def send(
        self, text: str, current: int | None, chosen: int, search: str, limit: int
    ) -> Drawn:
        """Post a message, in a new conversation if none is open."""
        if not text.strip():
            return
        if current is None:
            config_id = None if chosen == DEFAULT else chosen
            current = (await self.client.create_conversation(config_id)).id
            # Known before the message is sent: if that fails, the next attempt uses it.
            yield {self.layout.current: current}
        async for changes in self._draw(current, self.client.send(current, text), search, limit):
            yield changes

    async def regenerate(self, current: int | None, shown: Shown, search: str, limit: int) -> Drawn:
        """Ask for another reply beside the last one."""
        if current is None or not shown or shown[-1]["role"] != "assistant":
            return
        events = self.client.regenerate(current, id_of(shown, -1))
        async for changes in self._draw(current, events, search, limit):
            yield changes

    async def edit(
        self, current: int | None, shown: Shown, search: str, limit: int, edited: gr.EditData
    ) -> Drawn:
        """Say something else at the place of a message."""
        if current is None or not isinstance(edited.index, int):
            return
        events = self.client.edit(current, id_of(shown, edited.index), str(edited.value))
        async for changes in self._draw(current, events, search, limit):
            yield changes

    async def follow(
        self, running: Running | None, current: int | None, search: str, limit: int
    ) -> Drawn:
        """Follow a reply that somebody began before."""
        if running is None or current is None:
            return
        path = shown_path(await self.client.conversation(current))
        if not path or path[-1].id != running.reply_id:
            return
        events = self.client.follow(current, running.reply_id)
        async for changes in self._draw(current, events, search, limit, path):
            yield changes

    async def _draw(
        self,
        current: int,
        events: AsyncGenerator[Event],
        search: str,
        limit: int,
        path: list[Message] | None = None,
    ) -> Drawn:
        """Show a reply's events; a turn is shown when it has begun, unless `path` has it."""
        path, text = path or [], ""
        async with aclosing(in_groups(events, DRAW_SECONDS)) as groups:
            async for group in groups:
                changes: Changes = {}
                if any(isinstance(event, Turn) for event in group):
                    tree = await self.client.conversation(current)
                    path = shown_path(tree)
                    changes = self.views.conversation(tree, follow=False)
                    changes |= await self.views.listing(current, search, limit)
                    changes[self.layout.message] = gr.update(
                        value="", submit_btn=False, stop_btn="Stop"
                    )
                text += "".join(event.text for event in group if isinstance(event, Delta))
                if path and not any(isinstance(event, Done) for event in group):
                    reply = path[-1].model_copy(update={"content": text})
                    yield changes | self.views.chat([*path[:-1], reply])
                elif changes:
                    yield changes
        try:
            tree = await self.client.conversation(current)
        except RefusedError as exc:
            if exc.status == 404:
                return  # deleted while it was answered, which is no surprise to who did it
            raise
        yield self.views.conversation(tree, follow=False)
