"""What is on the page, and where."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

DEFAULT = 0  # the server's default, in a list of configurations' ids
LISTED = 30  # conversations at first, and how many more each time

# Fonts of the system only: nothing is fetched from elsewhere, and Korean has its own.
THEME = gr.themes.Soft(
    font=["system-ui", "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans CJK KR", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
    text_size=gr.themes.sizes.text_sm,
    spacing_size=gr.themes.sizes.spacing_sm,
).set(
    background_fill_primary="*neutral_50",  # Soft's own, which set() forgets
    input_border_width="1px",
    input_border_color="*neutral_200",
    block_title_background_fill="none",
    block_title_padding="0",
    block_title_text_color="*neutral_500",
    block_title_text_color_dark="*neutral_400",
)
CSS = """
.gradio-container .main.fillable {max-width: 1280px; padding: 12px 20px}
#status {overflow-wrap: anywhere}
#status .dot {margin-right: 4px}
#status .ok .dot {color: #16a34a}
#status .degraded .dot {color: #d97706}
#status .away .dot {color: #dc2626}
#conversations .wrap {flex-direction: column; flex-wrap: nowrap; gap: 4px; overflow-y: auto;
  max-height: max(120px, 100vh - 400px)}
#conversations label {width: 100%; flex-shrink: 0; box-shadow: none}
#conversations label input {position: absolute; opacity: 0}
#conversations label span {margin: 0; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap}
#conversations label:has(input:focus-visible) {outline: 2px solid var(--color-accent)}
#chat {height: max(320px, 100vh - 270px) !important}
/* Gradio's own button empties the chat on the page only, and it comes back with the next word. */
#chat .top-panel {display: none}
.tight {align-items: center; gap: 12px}
.counter {flex: 0 0 auto !important; width: auto !important; align-items: center; gap: 6px;
  flex-wrap: nowrap}
.counter > * {flex: 0 0 auto !important; width: auto !important; min-width: 0 !important}
.counter button {min-width: 36px !important}
.counter p {margin: 0; white-space: nowrap}
.wrap-inner:has(input[role=combobox]) {min-height: 36px}
.submit-button, .stop-button {font-weight: 600; color: var(--color-accent) !important}
@media (max-width: 640px) {
  .gradio-container .main.fillable {padding: 8px}
  #conversations .wrap {max-height: 140px}
  #chat {height: 60vh !important}
}
"""


@dataclass(frozen=True)
class Layout:
    """The components that actions read or change."""

    current: gr.BrowserState  # id of the conversation, also after a reload
    running: gr.State  # the reply that is to be followed
    reachable: gr.State  # whether the chat server answered last
    listed: gr.State  # how many conversations are listed
    timer: gr.Timer
    status: gr.HTML
    new: gr.Button
    search: gr.Textbox
    conversations: gr.Radio
    older: gr.Button
    title: gr.Textbox
    rename: gr.Button
    delete: gr.Button
    config: gr.Dropdown
    config_name: gr.Textbox
    config_model: gr.Dropdown
    config_prompt: gr.Textbox
    config_temperature: gr.Number
    config_max_tokens: gr.Number
    config_save: gr.Button
    config_create: gr.Button
    config_delete: gr.Button
    chat: gr.Chatbot
    message: gr.Textbox
    regenerate: gr.Button
    replies: gr.Row
    reply_back: gr.Button
    reply_count: gr.Markdown
    reply_on: gr.Button
    questions: gr.Row
    question_back: gr.Button
    question_count: gr.Markdown
    question_on: gr.Button

    @property
    def outputs(self) -> set[Any]:
        """All that an action may change."""
        return {getattr(self, field.name) for field in fields(self)} - {self.timer}


def build() -> Layout:
    """Make the components in the Blocks that are open."""
    parts: dict[str, Any] = {
        # A secret of its own would be another one after every restart, and the id unreadable.
        "current": gr.BrowserState(None, storage_key="chat-demo", secret="not-a-secret"),  # noqa: S106
        "running": gr.State(None),
        "reachable": gr.State(True),
        "listed": gr.State(LISTED),
        "timer": gr.Timer(2.0),
    }
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            parts |= _left()
        with gr.Column(scale=3, min_width=320):
            parts |= _top()
            parts |= _chat()
    return Layout(**parts)


def _left() -> dict[str, Any]:
    parts: dict[str, Any] = {
        "status": gr.HTML("Looking for the chat server …", elem_id="status"),
        "new": gr.Button("New conversation", variant="primary"),
        "search": gr.Textbox(
            placeholder="Search in messages", show_label=False, container=False, max_lines=1
        ),
        "conversations": gr.Radio(
            [], label="Conversations", elem_id="conversations", interactive=True
        ),
        "older": gr.Button("Show older", size="sm", visible=False),
        "title": gr.Textbox(label="Title", max_lines=1, interactive=True),
    }
    with gr.Row():
        parts["rename"] = gr.Button("Rename", size="sm", min_width=80)
        parts["delete"] = gr.Button("Delete", size="sm", min_width=80, variant="stop")
    return parts


def _top() -> dict[str, Any]:
    parts: dict[str, Any] = {
        "config": gr.Dropdown(
            [("Server's default", DEFAULT)],
            value=DEFAULT,
            label="Configuration",
            interactive=True,
            filterable=False,
        )
    }
    with gr.Accordion("Edit configurations", open=False):
        with gr.Row():
            parts["config_name"] = gr.Textbox(label="Name", max_lines=1, min_width=140)
            parts["config_model"] = gr.Dropdown(
                [], label="Model name", allow_custom_value=True, interactive=True, min_width=140
            )
            parts["config_temperature"] = gr.Number(
                label="Temperature (0 to 2)", value=None, minimum=0, maximum=2, step=0.1,
                min_width=120,
            )  # fmt: skip
            parts["config_max_tokens"] = gr.Number(
                label="Max tokens", value=None, minimum=1, precision=0, min_width=120
            )
        parts["config_prompt"] = gr.Textbox(label="System prompt", lines=2, max_lines=8)
        with gr.Row():
            parts["config_save"] = gr.Button("Save changes", size="sm", min_width=100)
            parts["config_create"] = gr.Button("Create as new", size="sm", min_width=100)
            parts["config_delete"] = gr.Button(
                "Delete configuration", size="sm", min_width=100, variant="stop"
            )
    return parts


def _chat() -> dict[str, Any]:
    parts: dict[str, Any] = {
        "chat": gr.Chatbot(
            show_label=False,
            elem_id="chat",
            editable="user",
            buttons=["copy"],
            group_consecutive_messages=False,
            placeholder="Say something: the conversation gets its title from it.",
        )
    }
    with gr.Row(elem_classes="tight"):
        parts["regenerate"] = gr.Button(
            "Regenerate", size="sm", scale=0, min_width=110, interactive=False
        )
        for name in ("reply", "question"):
            with gr.Row(visible=False, elem_classes="counter") as row:
                parts[f"{name}_back"] = gr.Button("◀", size="sm", scale=0, min_width=36)
                parts[f"{name}_count"] = gr.Markdown()
                parts[f"{name}_on"] = gr.Button("▶", size="sm", scale=0, min_width=36)
            parts["replies" if name == "reply" else "questions"] = row
    parts["message"] = gr.Textbox(
        show_label=False,
        placeholder="Message; Enter sends it, Shift+Enter begins a new line",
        lines=1,
        max_lines=8,
        autofocus=True,
        submit_btn="Send",
    )
    return parts
