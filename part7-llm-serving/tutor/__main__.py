"""Serve the tutor, the "model" of the chat course that needs no GPU and no download.

uv run python -m tutor

Run it in the folder part7-llm-serving. TUTOR_HOST, TUTOR_PORT, TUTOR_LESSONS and
TUTOR_TOKENS_PER_SECOND change what it does.
"""

import argparse
import os
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from tutor.passages import NoLessonsError, Passage, read_lessons
from tutor.settings import BadSettingError, Settings, load_settings, refusal

STOP_SECONDS = 1  # for a client that does not read its answer, or does not end its request


def main() -> None:
    """Read the lessons, index them and answer until SIGTERM or Ctrl-C."""
    argparse.ArgumentParser(
        prog="python -m tutor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    with suppress(KeyboardInterrupt):
        try:
            settings = load_settings()
            passages = _passages(settings)
        except BadSettingError as exc:
            _fail(str(exc), 2)
        with _listening(settings) as server_socket:  # first, because what follows takes a second
            _serve(settings, passages, server_socket)


def _serve(settings: Settings, passages: list[Passage], server_socket: socket.socket) -> None:
    import uvicorn

    from tutor.answer import Tutor
    from tutor.app import create_app
    from tutor.request_log import configure_logging

    configure_logging()
    app = create_app(
        Tutor(passages), settings.tutor_tokens_per_second, stopping=lambda: server.should_exit
    )
    config = uvicorn.Config(
        app, access_log=False, log_level="warning", timeout_graceful_shutdown=STOP_SECONDS
    )
    server = uvicorn.Server(config)
    server.run(sockets=[server_socket])


def _passages(settings: Settings) -> list[Passage]:
    folder = settings.tutor_lessons
    try:
        return read_lessons(folder)
    except NoLessonsError as exc:
        raise refusal("TUTOR_LESSONS", folder, f"there is {exc}") from exc
    except UnicodeDecodeError as exc:
        raise refusal("TUTOR_LESSONS", folder, "a lesson there is not in UTF-8") from exc
    except OSError as exc:
        wrong = f"cannot read {exc.filename}: {exc.strerror}"
        raise refusal("TUTOR_LESSONS", folder, wrong) from exc


def _listening(settings: Settings) -> socket.socket:
    host, port = settings.tutor_host, settings.tutor_port
    try:
        families = {each[0] for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        # Of a name with both, as localhost often is, the one that every client tries.
        family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
        # create_server sets SO_REUSEADDR where it means what it should.
        return socket.create_server((host, port), family=family)
    except (socket.gaierror, UnicodeError):
        _fail(str(refusal("TUTOR_HOST", host, "no such host")), 2)
    except OSError as exc:
        _fail(
            f"cannot listen on {host} port {port}: {os.strerror(exc.errno or 0)}; "
            "stop the program that has it, or set TUTOR_PORT to a free port",
            1,
        )


def _fail(message: str, status: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
