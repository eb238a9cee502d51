"""Insert one row of iris into the table.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. The password is in the code. -> part1/settings.py
2. The SQL is built from an f-string: the data become part of the statement. A missing value
   arrives as the word `nan` ("column nan does not exist"), and a value from outside that reads
   `0); DROP TABLE iris_data; SELECT (1` drops the table.
   -> parameters and COPY, part1/insert_methods.py
3. `sample(1)` has no seed. No two runs insert the same row, so nothing that follows can be
   repeated or tested. -> the seeded stream of part1/data_generator.py
4. `squeeze()` makes one row of one type: the label 0 becomes 0.0, and only PostgreSQL's
   assignment cast turns it into an integer again. -> typed rows, part1/data_generator.py
5. A missing table or server ends in a traceback that names no remedy.
   -> part1/command.py, part1/database.py
6. The connection is never closed; an error between connect and exit leaves it to the
   interpreter. -> `with`, everywhere
"""

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


if __name__ == "__main__":
    db_connect = psycopg2.connect(
        user="myuser",
        password="mypassword",
        host="localhost",
        port=5432,
        database="mydatabase",
    )
    df = get_data()
    insert_data(db_connect, df.sample(1).squeeze())
