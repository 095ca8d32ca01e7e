"""Inference with scikit-learn: trained once, when it is built; loaded once per instance."""

import json
from pathlib import Path

import skops.io

from wisp import Response

HERE = Path(__file__).parent
MODEL = skops.io.load(HERE / "model.skops")
CLASSES = json.loads((HERE / "classes.json").read_text())


def handle(event, context):
    """Answer which iris each row of four measurements is: {"rows": [[5.1, 3.5, 1.4, 0.2]]}."""
    rows = event.data.get("rows") if isinstance(event.data, dict) else None
    if not rows or not all(isinstance(row, list) and len(row) == 4 for row in rows):
        return Response({"error": "rows must be lists of four numbers"}, 400)
    return {"classes": [CLASSES[index] for index in MODEL.predict(rows)]}
