"""The smallest API: one path, one answer.

uv run uvicorn part5.main:app --port 8000
"""

from fastapi import FastAPI

app = FastAPI(title="Hello")


@app.get("/")
async def hello() -> dict[str, str]:
    """Greet."""
    return {"message": "Hello, world"}
