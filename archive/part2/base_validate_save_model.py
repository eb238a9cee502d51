"""Load what base_train.py saved and score it again.   (As first taught. Frozen.)

What is wrong here, what happens because of it, and where it is mended:

1. It compares nothing. The reader has to remember what base_train.py printed; a wrong model
   prints wrong numbers and exits with 0. -> part2/base_validate_save_model.py exits with 1
2. It loads any scaler.joblib and classifier.joblib that lie in the folder, also a pair that was
   never trained together. -> one folder per training run, part2/artifacts.py
3. `joblib.load` is `pickle.load`: a model file from somebody else runs their code.
   -> the SHA-256 in metrics.json says whether it is your file; part 3 saves with skops
4. The split is a copy of base_train.py's. Change the seed there, and training rows are scored
   here as validation rows. -> one split, part2/dataset.py
"""

import joblib
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

# 1. reproduce data
X, y = load_iris(return_X_y=True, as_frame=True)
X_train, X_valid, y_train, y_valid = train_test_split(X, y, train_size=0.8, random_state=2022)

# 2. load model
scaler_load = joblib.load("scaler.joblib")
classifier_load = joblib.load("classifier.joblib")

# 3. validate
scaled_X_train = scaler_load.transform(X_train)
scaled_X_valid = scaler_load.transform(X_valid)

load_train_pred = classifier_load.predict(scaled_X_train)
load_valid_pred = classifier_load.predict(scaled_X_valid)

load_train_acc = accuracy_score(y_true=y_train, y_pred=load_train_pred)
load_valid_acc = accuracy_score(y_true=y_valid, y_pred=load_valid_pred)

print("Load Model Train Accuracy :", load_train_acc)
print("Load Model Valid Accuracy :", load_valid_acc)
