"""What happens when somebody does something: each action asks the server and shows the answer."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.branches import last_fork, newest_leaf
from demo.client import ChatClient
from demo.errors import RefusedError
from demo.layout import DEFAULT, LISTED, Layout
from demo.views import Changes, Views

Shown = list[dict[str, Any]]  # the value of the chat


def id_of(shown: Shown, index: int) -> int:
    """The id of a message that is shown."""
    return int(shown[index]["metadata"]["id"])


@dataclass(frozen=True)
class Actions:
    """The actions that end at once; replies that arrive are in `demo.replies`."""

    client: ChatClient
    layout: Layout
    views: Views

    async def load(self, current: int | None, search: str, limit: int) -> Changes:
        """Show the page as it was left."""
        status = await self.views.status()
        if not status[self.layout.reachable]:
            return status
        return status | await self.recover(True, current, search, limit)

    async def recover(
        self, reachable: bool, current: int | None, search: str, limit: int
    ) -> Changes:
        """Show everything again after the server was away."""
        if not reachable:
            return {}
        changes = await self.views.models()
        try:
            changes |= await self.open(current, search, limit)
        except RefusedError as exc:
            if exc.status != 404:
                raise
            # The conversation was deleted elsewhere; there is nothing to warn of.
            changes |= await self.open(None, search, limit)
        return changes

    async def open(self, current: int | None, search: str, limit: int) -> Changes:
        """Show a conversation, and follow the reply that runs in it."""
        if current is None:
            configs = await self.views.configs(None)
            return configs | await self.begin_new(search, limit)
        tree = await self.client.conversation(current)
        return (
            self.views.conversation(tree, follow=True)
            | await self.views.configs(tree.llm_config_id)
            | await self.views.listing(current, search, limit)
        )

    async def begin_new(self, search: str, limit: int) -> Changes:
        """Show an empty page; the conversation is made with its first message."""
        return self.views.no_conversation() | await self.views.listing(None, search, limit)

    async def find(self, current: int | None, search: str) -> Changes:
        """List the conversations in which something was said."""
        return {self.layout.listed: LISTED} | await self.views.listing(current, search, LISTED)

    async def show_older(self, current: int | None, search: str, limit: int) -> Changes:
        """List more conversations."""
        more = limit + LISTED
        return {self.layout.listed: more} | await self.views.listing(current, search, more)

    async def rename(self, current: int | None, title: str, search: str, limit: int) -> Changes:
        """Give the conversation another title."""
        if current is None:
            return {}
        renamed = await self.client.change_conversation(current, title=title)
        listing = await self.views.listing(current, search, limit)
        return listing | {self.layout.title: renamed.title}

    async def delete(
        self, sure: int | None, current: int | None, search: str, limit: int
    ) -> Changes:
        """Remove the conversation, unless somebody thought better of it."""
        if sure is None or current is None:
            return await self.open(current, search, limit)
        await self.client.delete_conversation(current)
        return await self.begin_new(search, limit)

    async def stop(self, current: int | None, shown: Shown) -> Changes:
        """End the reply that is running; whoever follows it shows how it ended."""
        if current is not None and shown and shown[-1]["role"] == "assistant":
            await self.client.stop(current, id_of(shown, -1))
        return {}

    async def rate(self, current: int | None, shown: Shown, given: gr.LikeData) -> Changes:
        """Keep a thumb, or take it back."""
        if current is None or not isinstance(given.index, int):
            return {}
        # Gradio says True and False, and "" for a thumb that is taken back.
        thumb = None if given.liked == "" else "up" if given.liked else "down"
        await self.client.feedback(current, id_of(shown, given.index), thumb)
        return {}

    async def reply_back(self, current: int | None) -> Changes:
        """Show the reply before."""
        return await self._another(current, "assistant", -1)

    async def reply_on(self, current: int | None) -> Changes:
        """Show the next reply."""
        return await self._another(current, "assistant", 1)

    async def question_back(self, current: int | None) -> Changes:
        """Show the question as it was before."""
        return await self._another(current, "user", -1)

    async def question_on(self, current: int | None) -> Changes:
        """Show the question as it was next."""
        return await self._another(current, "user", 1)

    async def _another(self, current: int | None, role: Any, step: int) -> Changes:
        if current is None:
            return {}
        tree = await self.client.conversation(current)
        fork = last_fork(tree, role)
        if fork is None or not 0 <= fork.index + step < len(fork.versions):
            return self.views.conversation(tree, follow=True)
        leaf = newest_leaf(tree, fork.versions[fork.index + step].id)
        await self.client.change_conversation(current, active_leaf_id=leaf)
        return self.views.conversation(
            tree.model_copy(update={"active_leaf_id": leaf}), follow=True
        )

    async def choose_config(self, current: int | None, chosen: int) -> Changes:
        """Answer with another configuration from now on."""
        config_id = None if chosen == DEFAULT else chosen
        if current is not None:
            await self.client.change_conversation(current, llm_config_id=config_id)
        return await self.views.configs(config_id)

    async def save_config(
        self,
        chosen: int,
        name: str,
        model: str | None,
        prompt: str,
        temperature: float | None,
        max_tokens: int | None,
    ) -> Changes:
        """Change the chosen configuration."""
        values = _values(name, model, prompt, temperature, max_tokens)
        await self.client.change_config(chosen, **values)
        return await self.views.configs(chosen)

    async def create_config(
        self,
        current: int | None,
        name: str,
        model: str | None,
        prompt: str,
        temperature: float | None,
        max_tokens: int | None,
    ) -> Changes:
        """Add a configuration, and choose it."""
        made = await self.client.create_config(
            **_values(name, model, prompt, temperature, max_tokens)
        )
        return await self.choose_config(current, made.id)

    async def delete_config(self, chosen: int | None) -> Changes:
        """Remove the chosen configuration; None if somebody thought better of it."""
        if chosen is None or chosen == DEFAULT:
            return {}
        await self.client.delete_config(chosen)
        return await self.views.configs(None)


def _values(
    name: str, model: str | None, prompt: str, temperature: float | None, max_tokens: int | None
) -> dict[str, object]:
    return {
        "name": name,
        "model_name": model or "",
        "system_prompt": prompt,
        "temperature": temperature,
        "max_tokens": max_tokens,
    }
