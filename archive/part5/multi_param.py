"""Path and query together.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. `size: float` takes NaN and inf. The answer then holds a value that JSON does not have, and the
   request ends in 500. -> an int with limits, part5/multi_param.py
2. The item's id may be of any length, up to what the server takes as an address.
   -> max_length, part5/multi_param.py
3. `size` is wanted although there is a sensible value for whoever does not care.
   -> a default, part5/multi_param.py
"""

from fastapi import FastAPI

app = FastAPI()


@app.get("/users/{user_id}/items/{item_id}")
def read_item(user_id: int, item_id: str, size: float):
    return {"user_id": user_id, "item_id": item_id, "size": size}
