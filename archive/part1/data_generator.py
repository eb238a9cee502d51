"""Create the table and fill it, one row per second.   (As first taught. Frozen.)

This is what runs in the container of docker-compose.yaml.

What is wrong here, what happens because of it, and where it is mended:

1. Everything that is wrong in table_creator.py and data_insertion_loop.py, copied once more.
2. Only the host is an option; user, password, port and database need an edit and a new image.
   -> part1/settings.py reads all of them from the environment
3. `except:` with `sleep(5)` waits for ever and for everything: a wrong password looks exactly
   like a server that is still starting, and Ctrl-C during the sleep is the only way out.
   -> back-off up to a limit, and no wait for a refused login: part1/database.py
4. `sleep(5)` is five seconds also when the server needs one. -> part1/database.py
5. Once connected there is no second try: `docker restart postgres-server` ends the generator.
   -> resume from what the table says, part1/data_generator.py
6. The statement of every row goes to stdout: 86,400 times ten lines of log a day, and no rate.
   -> rows per second through logging, part1/data_generator.py
"""

import time
from argparse import ArgumentParser

import pandas as pd
import psycopg2
from sklearn.datasets import load_iris


def get_data():
    X, y = load_iris(return_X_y=True, as_frame=True)
    df = pd.concat([X, y], axis="columns")
    rename_rule = {
        "sepal length (cm)": "sepal_length",
        "sepal width (cm)": "sepal_width",
        "petal length (cm)": "petal_length",
        "petal width (cm)": "petal_width",
    }
    df = df.rename(columns=rename_rule)
    return df


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


def insert_data(db_connect, data):
    insert_row_query = f"""
    INSERT INTO iris_data
        (timestamp, sepal_length, sepal_width, petal_length, petal_width, target)
        VALUES (
            NOW(),
            {data.sepal_length},
            {data.sepal_width},
            {data.petal_length},
            {data.petal_width},
            {data.target}
        );
    """
    print(insert_row_query)
    with db_connect.cursor() as cur:
        cur.execute(insert_row_query)
        db_connect.commit()


def generate_data(db_connect, df):
    while True:
        insert_data(db_connect, df.sample(1).squeeze())
        time.sleep(1)


def connect(db_host):
    while True:
        try:
            return psycopg2.connect(
                user="myuser",
                password="mypassword",
                host=db_host,
                port=5432,
                database="mydatabase",
            )
        except:
            print("database is not ready, trying again in 5 seconds")
            time.sleep(5)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--db-host", dest="db_host", type=str, default="localhost")
    args = parser.parse_args()

    db_connect = connect(args.db_host)
    create_table(db_connect)
    df = get_data()
    generate_data(db_connect, df)
