"""Train on the newest rows and log the model to MLflow.   (As first taught. Frozen.)

One argument has changed so that it runs with MLflow 3: `log_model(name=...)` was
`log_model(artifact_path=...)`.

What is wrong here, what happens because of it, and where it is mended:

1. Keys and passwords are in the code, twice, and every learner's laptop holds the keys of the
   artifact store. -> part3/settings.py; the MLflow server hands artifacts on, clients need no key
2. In spite of its name it registers nothing. The model hangs under a run: there is no version,
   no alias, and whoever wants to load it needs the run id, copied by hand from the web page.
   -> a registered version with an alias, part3/save_model_to_registry.py, part3/promote_model.py
3. The split is over rows, though the generator draws with replacement: the same measurement
   stands on both sides and valid_acc is too good to be true. -> part3/dataset.py
4. Neither parameters nor data are logged. data.csv lies in the folder you were in and is gone
   with the next run, so that no logged number can be checked. -> data snapshot and its SHA-256
   as artifact and tag, part3/dataset.py
5. If the store goes away during the upload, a run with metrics and without a model stays behind,
   marked as failed at best. -> uploaded, read back, then registered:
   part3/save_model_to_registry.py
6. MLflow asks seven times for a server that is not there and is silent for minutes.
   -> one line after seconds, part3/registry.py
7. MLflow's telemetry is on: it reports what you call to its makers. -> off, part3/registry.py
8. The options are read after the training. `--help` needs a database and trains a model first; a
   misspelt option is found out at the end. -> options first, imports where they are needed
"""

import os
from argparse import ArgumentParser

import mlflow
import pandas as pd
import psycopg2
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

# 0. set mlflow environments
os.environ["MLFLOW_S3_ENDPOINT_URL"] = "http://localhost:9000"
os.environ["MLFLOW_TRACKING_URI"] = "http://localhost:5001"
os.environ["AWS_ACCESS_KEY_ID"] = "minio"
os.environ["AWS_SECRET_ACCESS_KEY"] = "miniostorage"

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
parser = ArgumentParser()
parser.add_argument("--model-name", dest="model_name", type=str, default="sk_model")
args = parser.parse_args()

mlflow.set_experiment("new-exp")

signature = mlflow.models.infer_signature(model_input=X_train, model_output=train_pred)
input_sample = X_train.iloc[:10]

with mlflow.start_run() as run:
    mlflow.log_metrics({"train_acc": train_acc, "valid_acc": valid_acc})
    mlflow.sklearn.log_model(
        sk_model=model_pipeline,
        name=args.model_name,
        signature=signature,
        input_example=input_sample,
    )

print("Run ID :", run.info.run_id)
