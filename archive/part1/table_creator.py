"""Create the table iris_data.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. The password is in the code. It is in the git history for ever, and a new one means editing
   every script. -> part1/settings.py
2. Nothing waits for the server. One second too early ends in a traceback of ten lines that never
   says "start the database". -> part1/database.py
3. `id SERIAL` has 32 bits. At 2,147,483,647 rows every insert fails. -> bigint, part1/schema.py
4. No NOT NULL and no CHECK. A length of -1 or a label 7 goes in without a word and comes out in
   training, weeks later. -> part1/schema.py
5. `timestamp` has no time zone. NOW() is cut to the server's local time, so rows written before
   and after a move of the server, or a change to summer time, are in the wrong order.
   -> timestamptz, part1/schema.py
6. IF NOT EXISTS is content with any table of that name, also one with other columns; the fault
   shows later, in another script. -> check_columns in part1/schema.py
7. There is no index besides the key: "rows of the last hour" reads the whole table.
   -> part1/schema.py
"""

import psycopg2


def create_table(db_connect):
    create_table_query = """
    CREATE TABLE IF NOT EXISTS iris_data (
        id SERIAL PRIMARY KEY,
        timestamp timestamp,
        sepal_length float8,
        sepal_width float8,
        petal_length float8,
        petal_width float8,
        target int
    );"""
    print(create_table_query)
    with db_connect.cursor() as cur:
        cur.execute(create_table_query)
        db_connect.commit()


if __name__ == "__main__":
    db_connect = psycopg2.connect(
        user="myuser",
        password="mypassword",
        host="localhost",
        port=5432,
        database="mydatabase",
    )
    create_table(db_connect)
