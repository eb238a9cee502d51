"""Serve the chat page.

uv run python -m demo

Run it in the folder part7-llm-serving. CHAT_API_URL, CHAT_API_KEY, DEMO_HOST and DEMO_PORT change
what it does.
"""

import argparse
import os
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from demo.settings import BadSettingError, Settings, load_settings

# Before Gradio is imported: it asks for the newest version and reports its use otherwise.
OFFLINE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    argparse.ArgumentParser(
        prog="python -m demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    try:
        settings = load_settings()
    except BadSettingError as exc:
        _fail(str(exc), 2)
    with suppress(KeyboardInterrupt):
        _check_address(settings)
        _serve(settings)


def _serve(settings: Settings) -> None:
    os.environ.update(OFFLINE)
    from demo.client import ChatClient
    from demo.page import launch, make_page

    client = ChatClient(settings.chat_api_url, settings.chat_api_key.get_secret_value())
    page = make_page(client)
    launch(page, settings.demo_host, settings.demo_port)
    print(f"The page is at http://{settings.demo_host}:{settings.demo_port}", flush=True)
    page.server.thread.join()


def _check_address(settings: Settings) -> None:
    """Say in one line what Gradio would say in many."""
    host, port = settings.demo_host, settings.demo_port
    try:
        socket.create_server((host, port)).close()
    except (socket.gaierror, UnicodeError):
        _fail(f"DEMO_HOST is {host!r}: no such host; set it to an address of this machine", 2)
    except OSError as exc:
        _fail(
            f"cannot listen on {host} port {port}: {os.strerror(exc.errno or 0)}; "
            "stop the program that has it, or set DEMO_PORT to a free port",
            1,
        )


def _fail(message: str, status: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
