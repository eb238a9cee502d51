"""Load what db_train.py saved and score it on data.csv.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. Whether data.csv is what the model was trained on is anybody's guess; run db_train.py twice at
   once and it is not. -> the SHA-256 of the snapshot in metrics.json, part2/artifacts.py
2. The split leaks as in db_train.py, so that the number it confirms is the wrong number.
   -> part2/dataset.py
3. It compares nothing: a wrong model prints wrong numbers and exits with 0.
   -> part2/db_validate_save_model.py exits with 1
4. `joblib.load` is `pickle.load`: a model file from somebody else runs their code.
   -> the SHA-256 in metrics.json says whether it is your file; part 3 saves with skops
"""

import joblib
import pandas as pd
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

# 1. reproduce data
df = pd.read_csv("data.csv")
X = df.drop(["id", "timestamp", "target"], axis="columns")
y = df["target"]
X_train, X_valid, y_train, y_valid = train_test_split(X, y, train_size=0.8, random_state=2022)

# 2. load model
pipeline_load = joblib.load("db_pipeline.joblib")

# 3. validate
load_train_pred = pipeline_load.predict(X_train)
load_valid_pred = pipeline_load.predict(X_valid)

load_train_acc = accuracy_score(y_true=y_train, y_pred=load_train_pred)
load_valid_acc = accuracy_score(y_true=y_valid, y_pred=load_valid_pred)

print("Load Model Train Accuracy :", load_train_acc)
print("Load Model Valid Accuracy :", load_valid_acc)
