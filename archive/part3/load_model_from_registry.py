"""Load a model from MLflow by its run id and score it on data.csv.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. Keys are in the code. -> part3/settings.py; the MLflow server hands artifacts on
2. A run id is the only way in. A service that loads this way needs an edit for every new model.
   -> --alias champion, part3/load_model_from_registry.py
3. It scores on the data.csv that lies in the folder, whichever run wrote it.
   -> the snapshot that was logged with the model, checked by its SHA-256
4. It compares nothing: the wrong model prints wrong numbers and exits with 0.
   -> recomputed and logged accuracy must be equal, part3/load_model_from_registry.py
5. A run id that does not exist, or one of another model, ends in a traceback that names no other.
   -> one line with what exists, part3/load_model_from_registry.py
6. `import mlflow` comes before the options are read: `--help` takes seconds.
   -> imported where it is needed
"""

import os
from argparse import ArgumentParser

import mlflow
import pandas as pd
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

# 0. set mlflow environments
os.environ["MLFLOW_S3_ENDPOINT_URL"] = "http://localhost:9000"
os.environ["MLFLOW_TRACKING_URI"] = "http://localhost:5001"
os.environ["AWS_ACCESS_KEY_ID"] = "minio"
os.environ["AWS_SECRET_ACCESS_KEY"] = "miniostorage"

# 1. load model from mlflow
parser = ArgumentParser()
parser.add_argument("--model-name", dest="model_name", type=str, default="sk_model")
parser.add_argument("--run-id", dest="run_id", type=str)
args = parser.parse_args()

model_pipeline = mlflow.sklearn.load_model(f"runs:/{args.run_id}/{args.model_name}")

# 2. get data
df = pd.read_csv("data.csv")

X = df.drop(["id", "timestamp", "target"], axis="columns")
y = df["target"]
X_train, X_valid, y_train, y_valid = train_test_split(X, y, train_size=0.8, random_state=2022)

# 3. predict results
train_pred = model_pipeline.predict(X_train)
valid_pred = model_pipeline.predict(X_valid)

train_acc = accuracy_score(y_true=y_train, y_pred=train_pred)
valid_acc = accuracy_score(y_true=y_valid, y_pred=valid_pred)

print("Train Accuracy :", train_acc)
print("Valid Accuracy :", valid_acc)
