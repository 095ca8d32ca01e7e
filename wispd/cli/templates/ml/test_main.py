import subprocess
import sys
from pathlib import Path

import pytest

from wisp.testing import context, http_event

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def main():
    subprocess.run([sys.executable, "train.py"], cwd=HERE, check=True)
    import main

    return main


def test_it_knows_its_flowers(main):
    rows = {"rows": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}
    assert main.handle(http_event("POST", "/", rows), context()) == {"classes": ["setosa", "virginica"]}


def test_wrong_rows_are_refused(main):
    assert main.handle(http_event("POST", "/", {"rows": [[1, 2]]}), context()).status == 400
