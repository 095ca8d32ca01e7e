import io

import main
from PIL import Image

from wisp.testing import context, http_event


def test_a_picture_becomes_small():
    large = io.BytesIO()
    Image.new("RGB", (640, 320), "teal").save(large, "PNG")
    answer = main.handle(http_event("POST", "/?size=32", large.getvalue()), context())
    assert Image.open(io.BytesIO(answer.body)).size == (32, 16)


def test_what_is_no_picture_is_refused():
    assert main.handle(http_event("POST", "/", b"no picture"), context()).status == 415
