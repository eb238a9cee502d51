"""Create, read, update and delete by a body with pydantic models.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. The id is the length of the dict. Remove user 0 of three and add one: it gets number 2, which
   is somebody's. That user is gone, and nobody was told. -> numbers that only count up,
   part5/crud_pydantic.py, and the database's own, part5/user_store.py
2. A user that is missing is 400. -> 404, part5/crud_pydantic.py
3. Two users may have the same name, so GET by name finds one of them by luck.
   -> a unique column and 409, part5/user_store.py
4. POST answers 200 and no Location. -> 201, part5/crud_pydantic.py
5. A field that is misspelt is ignored: {"name": "ada", "nicknam": "x", ...} loses what it meant.
   -> extra="forbid", part5/users.py
6. Names have no length and may hold NUL, which PostgreSQL refuses later with a 500.
   -> part5/users.py
7. A body of ten gigabytes is read into memory before it is looked at. -> part5/limits.py
8. PUT changes one name into one that another user has. -> part5/crud_pydantic.py
9. Users are in the memory of one process. -> a database, part5/crud_sql.py
"""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel


class CreateIn(BaseModel):
    name: str
    nickname: str


class CreateOut(BaseModel):
    status: str
    id: int


app = FastAPI()

# User database
USER_DB = {}

# Fail response
NAME_NOT_FOUND = HTTPException(status_code=400, detail="Name not found.")


@app.post("/users", response_model=CreateOut)
def create_user(user: CreateIn):
    user_id = len(USER_DB)
    USER_DB[user_id] = user.model_dump()
    return {"status": "success", "id": user_id}


@app.get("/users/{user_id}")
def read_user(user_id: int):
    if user_id not in USER_DB:
        raise NAME_NOT_FOUND
    return USER_DB[user_id]


@app.put("/users/{user_id}")
def update_user(user_id: int, user: CreateIn):
    if user_id not in USER_DB:
        raise NAME_NOT_FOUND
    USER_DB[user_id] = user.model_dump()
    return {"status": "success", "id": user_id}


@app.delete("/users/{user_id}")
def delete_user(user_id: int):
    if user_id not in USER_DB:
        raise NAME_NOT_FOUND
    del USER_DB[user_id]
    return {"status": "success", "id": user_id}
