"""Train the model. `wisp deploy` runs this while it builds; what it leaves here is deployed with the code."""

import json
from pathlib import Path

import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

iris = load_iris()
skops.io.dump(LogisticRegression(max_iter=1000).fit(iris.data, iris.target), "model.skops")  # no pickle
Path("classes.json").write_text(json.dumps(iris.target_names.tolist()))
