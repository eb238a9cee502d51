"""Create, read, update and delete by query parameters.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. POST for a name that is there overwrites the nickname without a word, and says 200.
   -> 409, part5/crud_query.py
2. A user that is missing is 400. -> 404, part5/crud_query.py
3. Names have no length: the empty one is a user, and so is one of 60,000 characters.
   -> Query(min_length=1, max_length=50), part5/crud_query.py
4. POST answers 200 and does not say where the new user is. -> 201 and Location, part5/crud_query.py
5. What is changed stands in the address: it is in every log, and in the browser's history.
   -> a body, part5/crud_pydantic.py
6. Two requests at once that read and then write: the second write hides the first.
   -> If-Match, part5/crud_sql.py
"""

from fastapi import FastAPI, HTTPException

app = FastAPI()

# User database
USER_DB = {}

# Fail response
NAME_NOT_FOUND = HTTPException(status_code=400, detail="Name not found.")


@app.post("/users")
def create_user(name: str, nickname: str):
    USER_DB[name] = nickname
    return {"status": "success"}


@app.get("/users")
def read_user(name: str):
    if name not in USER_DB:
        raise NAME_NOT_FOUND
    return {"nickname": USER_DB[name]}


@app.put("/users")
def update_user(name: str, nickname: str):
    if name not in USER_DB:
        raise NAME_NOT_FOUND
    USER_DB[name] = nickname
    return {"status": "success"}


@app.delete("/users")
def delete_user(name: str):
    if name not in USER_DB:
        raise NAME_NOT_FOUND
    del USER_DB[name]
    return {"status": "success"}
