"""Run the fake model server by hand.

uv run python -m tests.fake_llm --port 8001 --first-token 0.5 --rate 20 --tokens 100
"""

from typing import Annotated

import typer
import uvicorn

from tests.fake_llm.app import FakeLlm
from tests.fake_llm.script import Script


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8001,
    first_token: Annotated[float, typer.Option(min=0, help="Seconds before it.")] = 0.0,
    rate: Annotated[float, typer.Option(min=0, help="Tokens per second; 0 is all at once.")] = 0.0,
    tokens: Annotated[int, typer.Option(min=0, help="Tokens of an answer.")] = 16,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
) -> None:
    """Answer like a model server; change what it does with PUT /script while it runs."""
    app = FakeLlm(Script(first_token=first_token, rate=rate, tokens=tokens))
    uvicorn.run(app, host=host, port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    typer.run(serve)
