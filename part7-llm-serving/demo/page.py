"""The page: its components, and which action each of them starts."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import wraps
from html import escape
from typing import Any

import gradio as gr

from demo.actions import Actions
from demo.client import ChatClient
from demo.errors import ChatServerError
from demo.layout import CSS, THEME, Layout, build
from demo.replies import Replies
from demo.views import Changes, Views

Action = Callable[..., Awaitable[Changes]]
Drawing = Callable[..., AsyncGenerator[Changes]]

# Asks first; the action gets null instead of its first input if the answer is no.
CONFIRM = "(first, ...rest) => [confirm('%s') ? first : null, ...rest]"


def make_page(client: ChatClient) -> gr.Blocks:
    """Make the page of the chat server that `client` asks."""
    page = gr.Blocks(title="Chat", analytics_enabled=False)
    with page:
        _wire(page, build(), client)
    # Actions wait for the server and not for each other.
    page.queue(default_concurrency_limit=None, api_open=False)
    return page


def launch(page: gr.Blocks, host: str, port: int) -> None:
    """Serve it in a thread; nothing of it leaves this machine."""
    page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        share=False,
        quiet=True,
        inbrowser=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=THEME,
        css=CSS,
    )


def _wire(page: gr.Blocks, c: Layout, client: ChatClient) -> None:
    views = Views(client, c)
    actions = Actions(client, c, views)
    replies = Replies(client, c, views)

    def on(event: Any, action: Any, inputs: list[Any], **options: Any) -> Any:
        return event(
            action,
            inputs,
            c.outputs,
            show_progress="hidden",
            api_visibility="private",
            **options,
        )

    listing = [c.search, c.listed]
    streams = [
        on(c.message.submit, _drawn(replies.send), [c.message, c.current, c.config, *listing]),
        on(c.regenerate.click, _drawn(replies.regenerate), [c.current, c.chat, *listing]),
        on(c.chat.edit, _drawn(replies.edit), [c.current, c.chat, *listing]),
        on(
            c.running.change,
            _drawn(replies.follow),
            [c.running, c.current, *listing],
            trigger_mode="multiple",
        ),
    ]

    def on_leaving(event: Any, action: Any, inputs: list[Any], **options: Any) -> None:
        # Whoever goes elsewhere takes no text of the old place along; the reply goes on without
        # us. A listener of its own, before the action: with `cancels` in the action's, Gradio
        # would cancel after it, and the old text would be drawn over the new one.
        event(None, cancels=streams, api_visibility="private")
        on(event, action, inputs, trigger_mode="multiple", **options)

    on_leaving(c.conversations.input, _done(actions.open), [c.conversations, *listing])
    on_leaving(c.new.click, _done(actions.begin_new), listing)
    on_leaving(
        c.delete.click,
        _done(actions.delete),
        [c.current, c.current, *listing],
        js=CONFIRM % "Delete this conversation?",
    )
    for button, action in (
        (c.reply_back, actions.reply_back),
        (c.reply_on, actions.reply_on),
        (c.question_back, actions.question_back),
        (c.question_on, actions.question_on),
    ):
        on_leaving(button.click, _done(action), [c.current])

    on(page.load, _done(actions.load), [c.current, *listing])
    on(c.timer.tick, _done(views.status), [])
    on(c.reachable.change, _done(actions.recover), [c.reachable, c.current, *listing])
    # Not `input`, which follows keys: it knows neither what is pasted nor Korean syllables.
    on(c.search.change, _done(actions.find), [c.current, c.search], trigger_mode="always_last")
    on(c.older.click, _done(actions.show_older), [c.current, *listing])
    for event in (c.rename.click, c.title.submit):
        on(event, _done(actions.rename), [c.current, c.title, *listing])
    on(c.message.stop, _done(actions.stop), [c.current, c.chat])
    # By itself Gradio drops what comes while it waits for the answer to the click before.
    on(c.chat.like, _done(actions.rate), [c.current, c.chat], trigger_mode="multiple")

    edited = [c.config_name, c.config_model, c.config_prompt]
    edited += [c.config_temperature, c.config_max_tokens]
    on(
        c.config.input,
        _done(actions.choose_config),
        [c.current, c.config],
        trigger_mode="multiple",
    )
    on(c.config_save.click, _done(actions.save_config), [c.config, *edited])
    on(c.config_create.click, _done(actions.create_config), [c.current, *edited])
    on(
        c.config_delete.click,
        _done(actions.delete_config),
        [c.config],
        js=CONFIRM % "Delete this configuration?",
    )


def _done(action: Action) -> Action:
    """The action, with the server's refusal as a warning on the page."""

    @wraps(action)
    async def run(*args: Any) -> Any:
        try:
            return await action(*args) or gr.skip()
        except ChatServerError as exc:
            _warn(exc)
            return gr.skip()

    return run


def _drawn(drawing: Drawing) -> Drawing:
    """The same for what draws again and again."""

    @wraps(drawing)
    async def run(*args: Any) -> Any:
        yield gr.skip()  # Gradio empties the page for a generator that yields nothing
        try:
            async for changes in drawing(*args):
                yield changes
        except ChatServerError as exc:
            _warn(exc)

    return run


def _warn(exc: ChatServerError) -> None:
    # Gradio takes the text for HTML.
    gr.Warning(escape(str(exc)), title=escape(exc.title))
