"""Train once, while the function is built; what this leaves in the folder is deployed with the code."""

import json

import skops.io
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

iris = load_iris()
train_x, test_x, train_y, test_y = train_test_split(iris.data, iris.target, random_state=0)
model = RandomForestClassifier(n_estimators=30, random_state=0).fit(train_x, train_y)
skops.io.dump(model, "model.skops")  # not a pickle: loading it runs no code
with open("model.json", "w") as file:
    json.dump({"classes": iris.target_names.tolist(), "accuracy": model.score(test_x, test_y)}, file)
print(f"accuracy {model.score(test_x, test_y):.3f}")
