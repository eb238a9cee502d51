"""Train a classifier on iris, scaler and SVC by hand.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. Everything runs on import. Nothing of it can be called by a test or by another script.
   -> functions, part2/base_train.py
2. The scaler and the classifier are two files that belong together, and nothing says so: whoever
   forgets the scaler gets predictions, wrong ones, and no error. -> part2/pipeline_train.py
3. The files go to whatever folder you are in, over whatever was there; killed while it writes,
   it leaves half a model that `joblib.load` cannot read. -> part2/artifacts.py
4. A model file is all that stays: not the accuracy, not the data, not the versions of the
   libraries. With the next scikit-learn it may load and predict something else.
   -> metrics.json and the data snapshot beside the model, part2/artifacts.py
5. One number says "0.97" and hides which class the errors are in.
   -> the confusion matrix, part2/evaluation.py
"""

import joblib
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

# 1. get data
X, y = load_iris(return_X_y=True, as_frame=True)
X_train, X_valid, y_train, y_valid = train_test_split(X, y, train_size=0.8, random_state=2022)

# 2. model development and train
scaler = StandardScaler()
classifier = SVC()

scaled_X_train = scaler.fit_transform(X_train)
scaled_X_valid = scaler.transform(X_valid)
classifier.fit(scaled_X_train, y_train)

train_pred = classifier.predict(scaled_X_train)
valid_pred = classifier.predict(scaled_X_valid)

train_acc = accuracy_score(y_true=y_train, y_pred=train_pred)
valid_acc = accuracy_score(y_true=y_valid, y_pred=valid_pred)

print("Train Accuracy :", train_acc)
print("Valid Accuracy :", valid_acc)

# 3. save model
joblib.dump(scaler, "scaler.joblib")
joblib.dump(classifier, "classifier.joblib")
