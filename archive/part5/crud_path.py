"""Create, read, update and delete by path parameters.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. POST for a name that is there overwrites the nickname without a word, and says 200.
   -> 409, part5/crud_path.py
2. POST answers 200 and does not say where the new user is. -> 201 and Location, part5/crud_path.py
3. A user that is missing is 400, "bad request". The request was good; what it asked for is not
   there. Proxies, clients and metrics tell the two apart by the status.
   -> 404, part5/crud_path.py
4. Values in a path: a nickname with a slash cannot be written, and every log on the way keeps
   what is in it. -> a body, part5/crud_pydantic.py
5. Errors in FastAPI's own form. Another service answers another one, and each client knows both.
   -> RFC 9457, part5/problems.py
6. Users are in the memory of one process. A restart forgets them, and with two workers each has
   its own. -> a database, part5/crud_sql.py
7. DELETE answers 200 with a sentence. -> 204 and nothing, part5/crud_path.py
"""

from fastapi import FastAPI, HTTPException

app = FastAPI()

# User database
USER_DB = {}

# Fail response
NAME_NOT_FOUND = HTTPException(status_code=400, detail="Name not found.")


@app.post("/users/name/{name}/nickname/{nickname}")
def create_user(name: str, nickname: str):
    USER_DB[name] = nickname
    return {"status": "success"}


@app.get("/users/name/{name}")
def read_user(name: str):
    if name not in USER_DB:
        raise NAME_NOT_FOUND
    return {"nickname": USER_DB[name]}


@app.put("/users/name/{name}/nickname/{nickname}")
def update_user(name: str, nickname: str):
    if name not in USER_DB:
        raise NAME_NOT_FOUND
    USER_DB[name] = nickname
    return {"status": "success"}


@app.delete("/users/name/{name}")
def delete_user(name: str):
    if name not in USER_DB:
        raise NAME_NOT_FOUND
    del USER_DB[name]
    return {"status": "success"}
