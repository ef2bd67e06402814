"""Images as the content of files."""

from __future__ import annotations

from io import BytesIO

from PIL import Image


def encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    """The content of an image file. Pillow itself takes no notice when a full disk takes only a part of a JPEG.

    Args:
        image: Of a mode that the format knows.
        kind: The format by Pillow's name, such as ``PNG``.
        options: Of the format, such as ``quality``.
    """
    content = BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()
