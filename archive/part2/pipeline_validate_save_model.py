"""Load what pipeline_train.py saved and score it again.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. It compares nothing: a wrong model prints wrong numbers and exits with 0.
   -> part2/pipeline_validate_save_model.py exits with 1
2. `joblib.load` is `pickle.load`: a model file from somebody else runs their code.
   -> the SHA-256 in metrics.json says whether it is your file; part 3 saves with skops
3. The split is a copy of pipeline_train.py's, to be kept equal by hand. -> part2/dataset.py
4. Without model_pipeline.joblib it ends in a traceback that does not say which script to run
   first. -> one script trains, saves, loads and compares
"""

import joblib
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

# 1. reproduce data
X, y = load_iris(return_X_y=True, as_frame=True)
X_train, X_valid, y_train, y_valid = train_test_split(X, y, train_size=0.8, random_state=2022)

# 2. load model
model_pipeline_load = joblib.load("model_pipeline.joblib")

# 3. validate
load_train_pred = model_pipeline_load.predict(X_train)
load_valid_pred = model_pipeline_load.predict(X_valid)

load_train_acc = accuracy_score(y_true=y_train, y_pred=load_train_pred)
load_valid_acc = accuracy_score(y_true=y_valid, y_pred=load_valid_pred)

print("Load Model Train Accuracy :", load_train_acc)
print("Load Model Valid Accuracy :", load_valid_acc)
