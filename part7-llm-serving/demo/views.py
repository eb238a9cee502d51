"""Changes of the page that show what the server says."""

import time
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from demo import drawing
from demo.branches import last_fork, shown_path
from demo.client import ChatClient
from demo.errors import ChatServerError
from demo.layout import DEFAULT, Layout
from demo.schemas import Config, Message, Tree

Changes = dict[Any, Any]


@dataclass(frozen=True)
class Running:
    """A reply to be followed; never the same twice, so that following it again is a change."""

    reply_id: int
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Views:
    """Reads from the server and returns what is to change, by component."""

    client: ChatClient
    layout: Layout

    def chat(self, path: list[Message]) -> Changes:
        """The messages."""
        shown = drawing.chat_messages(path)
        return {self.layout.chat: gr.update(value=shown, feedback_value=drawing.thumbs(path))}

    def no_conversation(self) -> Changes:
        """An empty page; the configuration stays, as the next conversation begins with it."""
        return self._frame(None) | self.chat([])

    def conversation(self, tree: Tree, *, follow: bool) -> Changes:
        """A conversation; with `follow`, a reply that runs in it is followed from now on."""
        path = shown_path(tree)
        streaming = bool(path) and path[-1].status == "streaming"
        return (
            self._frame(tree)
            | self.chat(path)
            | {self.layout.running: Running(path[-1].id) if follow and streaming else None}
        )

    def _frame(self, tree: Tree | None) -> Changes:
        """All around the messages."""
        page = self.layout
        path = shown_path(tree) if tree else []
        last = path[-1] if path else None
        streaming = last is not None and last.status == "streaming"
        ended = last is not None and last.role == "assistant" and not streaming
        return {
            page.current: tree.id if tree else None,
            page.running: None,
            page.title: gr.update(value=(tree.title or "") if tree else ""),
            page.rename: gr.update(interactive=tree is not None),
            page.delete: gr.update(interactive=tree is not None),
            page.message: gr.update(
                submit_btn=False if streaming else "Send", stop_btn="Stop" if streaming else False
            ),
            page.regenerate: gr.update(interactive=ended),
            **self._counter(tree, "reply", streaming),
            **self._counter(tree, "question", streaming),
        }

    def _counter(self, tree: Tree | None, name: str, streaming: bool) -> Changes:
        page, is_reply = self.layout, name == "reply"
        row, back, count, on = (
            (page.replies, page.reply_back, page.reply_count, page.reply_on)
            if is_reply
            else (page.questions, page.question_back, page.question_count, page.question_on)
        )
        fork = last_fork(tree, "assistant" if is_reply else "user") if tree else None
        if fork is None:
            return {row: gr.update(visible=False)}
        last = len(fork.versions) - 1
        return {
            row: gr.update(visible=True),
            back: gr.update(interactive=fork.index > 0 and not streaming),
            count: drawing.count_of(fork, name.capitalize()),
            on: gr.update(interactive=fork.index < last and not streaming),
        }

    async def listing(self, current: int | None, search: str, limit: int) -> Changes:
        """The list of conversations."""
        found, more = await self.client.conversations(limit, search.strip())
        choices = [(drawing.title_of(each), each.id) for each in found]
        chosen = current if any(each.id == current for each in found) else None
        return {
            self.layout.conversations: gr.update(choices=choices, value=chosen),
            self.layout.older: gr.update(visible=more),
        }

    async def configs(self, chosen: int | None) -> Changes:
        """The list of configurations, and the chosen one to be edited."""
        configs = await self.client.configs()
        found = next((each for each in configs if each.id == chosen), None)
        choices = [
            ("Server's default", DEFAULT),
            *((drawing.label_of(each), each.id) for each in configs),
        ]
        value = found.id if found else DEFAULT
        return {self.layout.config: gr.update(choices=choices, value=value)} | self._editor(found)

    def _editor(self, config: Config | None) -> Changes:
        page = self.layout
        return {
            page.config_name: config.name if config else "",
            page.config_model: config.model_name if config else None,
            page.config_prompt: config.system_prompt if config else "",
            page.config_temperature: config.temperature if config else None,
            page.config_max_tokens: config.max_tokens if config else None,
            page.config_save: gr.update(interactive=config is not None),
            page.config_delete: gr.update(interactive=config is not None),
        }

    async def status(self) -> Changes:
        """How the server is."""
        page = self.layout
        try:
            health = await self.client.health()
        except ChatServerError as exc:
            return {page.status: drawing.away_line(str(exc)), page.reachable: False}
        return {page.status: drawing.status_line(health), page.reachable: True}

    async def models(self) -> Changes:
        """The names of the models that can be asked."""
        return {self.layout.config_model: gr.update(choices=(await self.client.health()).models)}
