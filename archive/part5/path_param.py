"""A value in the path.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. `int` is all that is asked of the number: 0 and -7 are users, and so is a number of a hundred
   digits, which no database holds. -> Path(ge=1), part5/path_param.py
2. No description, no example: the page /docs shows a bare field. -> part5/path_param.py
3. The answer has no type. -> part5/path_param.py
"""

from fastapi import FastAPI

app = FastAPI()


@app.get("/users/{user_id}")
def read_user(user_id: int):
    return {"user_id": user_id}
