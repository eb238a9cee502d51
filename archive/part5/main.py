"""The smallest API.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. The answer has no type: the OpenAPI document says that anything may come.
   -> `-> dict[str, str]`, part5/main.py
2. There is no health endpoint. Whoever restarts dead containers has nothing to ask.
   -> GET /health, part5/crud_pydantic.py
3. Nothing says how to run it, or on which port. -> the run line in part5/main.py
"""

from fastapi import FastAPI

# Create a FastAPI instance
app = FastAPI()


@app.get("/")
def read_root():
    return {"Hello": "World"}
