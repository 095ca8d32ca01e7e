"""Inference with scikit-learn: the model is loaded once per instance and answers in milliseconds.

wisp deploy examples/inference
curl http://127.0.0.1:8080/fn/inference -d '{"rows": [[5.1, 3.5, 1.4, 0.2]]}' -H 'content-type: application/json'
"""

import json
from pathlib import Path

import numpy as np
import skops.io

import wisp

HERE = Path(__file__).parent
ROWS_MAX = 1000
ABOUT = json.loads((HERE / "model.json").read_text())
MODEL = skops.io.load(HERE / "model.skops", trusted=["sklearn.tree._tree.Tree"])


def handle(event, context):
    """Answer the class and its probability for every row of four measurements."""
    rows = (event.data or {}).get("rows") if isinstance(event.data, dict) else None
    try:
        features = np.asarray(rows, dtype=float)
    except (TypeError, ValueError):
        features = np.empty(0)
    if features.ndim != 2 or features.shape[1] != 4 or not 1 <= len(features) <= ROWS_MAX:
        return wisp.Response({"error": f"rows must be 1 to {ROWS_MAX} lists of four numbers"}, 400)
    probabilities = MODEL.predict_proba(features)
    best = probabilities.argmax(axis=1)
    found = [
        {"class": ABOUT["classes"][index], "probability": round(float(row[index]), 4)}
        for row, index in zip(probabilities, best, strict=True)
    ]
    return {"predictions": found, "accuracy": ABOUT["accuracy"]}
