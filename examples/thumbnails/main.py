"""Thumbnails with Pillow: picture in, smaller picture out.

wisp deploy examples/thumbnails
curl --data-binary @photo.jpg 'http://127.0.0.1:8080/fn/thumbnail?size=128' -o small.jpg
"""

import io
import os

from PIL import Image, UnidentifiedImageError

import wisp

SIZE_MAX = int(os.environ.get("SIZE_MAX", "1024"))
Image.MAX_IMAGE_PIXELS = 50_000_000  # a picture that unfolds to more is an attack or a mistake


def handle(event, context):
    """Answer the body's picture, at most `size` pixels wide and high, in its own format."""
    try:
        size = int(event.http.query.get("size", "128"))
    except ValueError:
        return wisp.Response({"error": "size must be a whole number"}, 400)
    if not 1 <= size <= SIZE_MAX:
        return wisp.Response({"error": f"size is {size}, allowed are 1 to {SIZE_MAX}"}, 400)
    try:
        picture = Image.open(io.BytesIO(event.http.body))
        kind = picture.format or "PNG"
        picture.thumbnail((size, size))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        return wisp.Response({"error": str(error)}, 415)
    out = io.BytesIO()
    picture.save(out, kind)
    context.log.info("%s to %sx%s", kind, *picture.size)
    return wisp.Response(out.getvalue(), content_type=Image.MIME.get(kind, "application/octet-stream"))
