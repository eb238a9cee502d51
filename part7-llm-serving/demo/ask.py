"""Ask the chat server one question, in a terminal.

uv run python -m demo.ask "What is a champion?"

Run it in the folder part7-llm-serving. CHAT_API_URL and CHAT_API_KEY change where it asks.
"""

import argparse
import asyncio
import os
import sys
from contextlib import suppress

from demo.client import ChatClient
from demo.errors import ChatServerError, RefusedError
from demo.schemas import Message
from demo.settings import BadSettingError, Settings, load_settings
from demo.stream import Delta, Done, Trouble


def main() -> None:
    """Print the reply as it comes, and then what is known of it."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.ask",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("question")
    parser.add_argument(
        "--conversation", type=int, metavar="ID", help="go on with this one, instead of a new one"
    )
    asked = parser.parse_args()
    status = 130
    with suppress(KeyboardInterrupt):
        try:
            settings = load_settings()
            status = asyncio.run(_ask(settings, asked.question, asked.conversation))
        except BadSettingError as exc:
            print(f"error: {exc}", file=sys.stderr)
            status = 2
        except ChatServerError as exc:
            print(f"error: {exc}", file=sys.stderr)
            status = 1
        except asyncio.CancelledError:  # by _say
            status = 1
    raise SystemExit(status)


async def _ask(settings: Settings, question: str, conversation: int | None) -> int:
    key = settings.chat_api_key.get_secret_value()
    async with ChatClient(settings.chat_api_url, key) as client:
        if conversation is not None:
            return await _follow(client, conversation, question)
        conversation = (await client.create_conversation(None)).id
        try:
            return await _follow(client, conversation, question)
        except RefusedError:
            with suppress(ChatServerError):  # it is empty; the refusal is what matters
                await client.delete_conversation(conversation)
            raise


async def _follow(client: ChatClient, conversation: int, question: str) -> int:
    trouble, ended = "", None
    async for event in client.send(conversation, question):
        match event:
            case Delta(text):
                _say(text)
            case Trouble(detail):
                trouble = detail
            case Done(reply):
                ended = reply
    assert ended is not None  # or `send` would have raised
    _say(f"\n\n{_known(conversation, ended)}\n")
    return _judge(ended, trouble)


def _say(text: str) -> None:
    """Print, unless nobody reads any more, as `| head` when it has seen enough."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own end
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # so that the stream is closed in good order


def _known(conversation: int, reply: Message) -> str:
    tokens = (reply.usage or {}).get("completion_tokens", 0)
    known = f"reply {reply.id} of conversation {conversation}: {reply.status}, {tokens} tokens"
    return f"{known}\ntrace {reply.trace_id}" if reply.trace_id else known


def _judge(reply: Message, trouble: str) -> int:
    if reply.status == "complete":
        return 0
    why = trouble or (reply.error or {}).get("detail") or f"the reply is {reply.status}"
    print(f"error: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
