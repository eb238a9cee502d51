"""Values after the question mark.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. `limit` has no upper end: ?limit=1000000000 asks for everything at once.
   -> Query(le=50), part5/query_param.py
2. A negative `skip` counts from the end, because that is what Python's slices do: ?skip=-1 gives
   the last user. -> Query(ge=0), part5/query_param.py
3. Pages by position: if a user is removed between two requests, the next page leaves one out.
   -> pages by number, part5/user_store.py
"""

from fastapi import FastAPI

app = FastAPI()

USERS = [{"name": f"user{number}"} for number in range(1, 101)]


@app.get("/users")
def read_users(skip: int = 0, limit: int = 10):
    return USERS[skip : skip + limit]
