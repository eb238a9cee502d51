"""Insert a random row of iris every second, for ever.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. The password is in the code, SQL is an f-string, `sample(1)` has no seed, the label travels as
   a float: see data_insertion.py. -> part1/settings.py, part1/data_generator.py
2. One commit per row. Each waits for the disk, so that no setting of `sleep` gets past a few
   thousand rows per second. -> batches and COPY, part1/insert_methods.py measures both
3. `time.sleep(1)` comes on top of the insert. The rate is less than one row per second and
   drifts with the load of the server. -> --rate, part1/data_generator.py
4. A restart of the database ends the loop with a traceback. If the connection breaks during the
   commit nobody knows whether the row is in. -> exactly once, part1/data_generator.py
5. Started twice, both loops insert. Nobody notices. -> a second generator is refused
6. It cannot be stopped except by a signal that prints a traceback (Ctrl-C) or leaves without a
   word (SIGTERM), and it does not say how many rows it wrote. -> SIGTERM flushes and reports
7. `get_data` and `insert_data` are copied from data_insertion.py: a fix to one misses the other.
"""

import time

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


if __name__ == "__main__":
    db_connect = psycopg2.connect(
        user="myuser",
        password="mypassword",
        host="localhost",
        port=5432,
        database="mydatabase",
    )
    df = get_data()
    generate_data(db_connect, df)
