"""Train on the newest rows of the database.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. The split is over rows, but the generator draws with replacement: of 100 rows only about 70
   are different measurements. Copies of one measurement stand on both sides, the model is asked
   what it has been told, and the validation accuracy is too good to be true.
   -> all copies on one side, part2/dataset.py
2. The password is in the code. -> part2/settings.py
3. Nothing looks at the rows. One NULL ends in a traceback of scikit-learn that names no row; a
   length of 500 or a label 7 is trained on without a word. -> part2/database.py names the row ids
4. Few rows are no error: with 5 rows it "validates" on one. An empty table or rows of one class
   end in a traceback. -> part2/database.py says how many there are and how to get more
5. `LIMIT 100` is a number in the code. -> --rows, part2/db_train.py
6. pandas warns at every run that it supports SQLAlchemy only, because it is given a bare
   psycopg2 connection. -> SQLAlchemy, part2/database.py
7. data.csv is written over the one of the last run, while the model of that run may still be
   around. Nobody can say any more what it was trained on. -> snapshot and SHA-256 beside the
   model, part2/artifacts.py
"""

import joblib
import pandas as pd
import psycopg2
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

# 1. get data
db_connect = psycopg2.connect(
    user="myuser",
    password="mypassword",
    host="localhost",
    port=5432,
    database="mydatabase",
)
df = pd.read_sql("SELECT * FROM iris_data ORDER BY id DESC LIMIT 100", db_connect)
df.to_csv("data.csv", index=False)

X = df.drop(["id", "timestamp", "target"], axis="columns")
y = df["target"]
X_train, X_valid, y_train, y_valid = train_test_split(X, y, train_size=0.8, random_state=2022)

# 2. model development and train
model_pipeline = Pipeline([("scaler", StandardScaler()), ("svc", SVC())])
model_pipeline.fit(X_train, y_train)

train_pred = model_pipeline.predict(X_train)
valid_pred = model_pipeline.predict(X_valid)

train_acc = accuracy_score(y_true=y_train, y_pred=train_pred)
valid_acc = accuracy_score(y_true=y_valid, y_pred=valid_pred)

print("Train Accuracy :", train_acc)
print("Valid Accuracy :", valid_acc)

# 3. save model
joblib.dump(model_pipeline, "db_pipeline.joblib")
