"""Train the same classifier as one Pipeline.   (As first taught. Frozen.)

The pipeline mends the worst of base_train.py: scaler and classifier are one file. What is left:

1. Everything runs on import. Nothing of it can be called by a test or by another script.
   -> functions, part2/pipeline_train.py
2. The file goes to whatever folder you are in, over whatever was there; killed while it writes,
   it leaves half a model. -> written beside and renamed, part2/artifacts.py
3. No accuracy, data or library versions are kept with the model. -> part2/artifacts.py
4. The data are scikit-learn's own and nothing else. A CSV of yours means an edit.
   -> --csv, checked before it is used: part2/dataset.py
"""

import joblib
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

# 1. get data
X, y = load_iris(return_X_y=True, as_frame=True)
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
joblib.dump(model_pipeline, "model_pipeline.joblib")
