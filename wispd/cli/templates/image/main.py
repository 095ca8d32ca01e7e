"""Thumbnails: picture in, smaller picture out."""

import io

from PIL import Image, UnidentifiedImageError

from wisp import Response

SIZE_MAX = 1024
Image.MAX_IMAGE_PIXELS = 50_000_000  # a picture that unfolds to more is an attack or a mistake


def handle(event, context):
    """Answer the body's picture, at most `size` pixels wide and high."""
    size = event.http.query.get("size", "128")
    if not size.isdigit() or not 1 <= int(size) <= SIZE_MAX:
        return Response({"error": f"size must be 1 to {SIZE_MAX}"}, 400)
    try:
        picture = Image.open(io.BytesIO(event.http.body))
        kind = picture.format or "PNG"
        picture.thumbnail((int(size), int(size)))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        return Response({"error": str(error)}, 415)
    out = io.BytesIO()
    picture.save(out, kind)
    return Response(out.getvalue(), content_type=Image.MIME.get(kind, "application/octet-stream"))
