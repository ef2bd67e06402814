"""PNG files whose pixels are stored, not compressed: they are three times as large, and read three times as fast.

Such a file is a PNG for every program. It has all chunks of the file that it was made from, and the content prefix of
that one (:mod:`muster.data.content`) in a chunk of its own, so that muster knows the image again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from muster.data.decoding import decode
from muster.data.orientation import Pixels
from muster.errors import DatasetError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DIGITS = 16
"""Of a content prefix."""

_ORIGINAL = b"orID"
"""Our chunk. Its last letter is a capital: programs that change the pixels have to leave it out (PNG 1.2, 3.3)."""

_HEADER = struct.Struct(">IIBBBBB")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the type of colours."""

_PLACE = len(SIGNATURE) + 12 + _HEADER.size
"""Where our chunk begins: after the header."""

BEGINNING = _PLACE + 8 + DIGITS
"""Bytes of a file that :func:`original_of` looks at."""


def original_of(beginning: bytes) -> str | None:
    """The content prefix of the file that another was made from.

    Args:
        beginning: Its first :data:`BEGINNING` bytes.

    Returns:
        16 hexadecimal digits; ``None`` if :func:`stored` did not make it.
    """
    named = beginning[_PLACE + 4 : _PLACE + 8] == _ORIGINAL and beginning.startswith(SIGNATURE)
    digits = beginning[_PLACE + 8 : BEGINNING].decode("ascii", "replace") if named else ""
    return digits if len(digits) == DIGITS and set(digits) <= set("0123456789abcdef") else None


def stored(content: bytes, prefix: str, what: str) -> bytes | None:
    """Make a PNG of the same pixels that are not compressed.

    Args:
        content: A file.
        prefix: Its content prefix.
        what: What to call it in messages.

    Returns:
        The other file; ``None`` for what is no PNG, has other than 8 bits a channel, is interlaced or moves, or was
        made here already.

    Raises:
        DatasetError: If it is damaged.
    """
    if not content.startswith(SIGNATURE) or original_of(content[:BEGINNING]) is not None:
        return None
    chunks = list(_chunks(content, what))
    kinds = {kind for kind, _ in chunks}
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != _HEADER.size:
        raise DatasetError(f"{what} cannot be read: it begins like a PNG, but has no header. Replace or remove it.")
    width, height, depth, colours, _, _, interlaced = _HEADER.unpack(chunks[0][1])
    if depth != 8 or interlaced or colours not in _CHANNELS or b"acTL" in kinds:
        return None
    pixels = _pixels(content, what).reshape(height, width * _CHANNELS[colours])
    rows = np.zeros((height, pixels.shape[1] + 1), np.uint8)  # each row begins with 0: it is not filtered
    rows[:, 1:] = pixels
    written = [SIGNATURE, _chunk(*chunks[0]), _chunk(_ORIGINAL, prefix.encode())]
    first = next(place for place, (kind, _) in enumerate(chunks) if kind == b"IDAT")
    for place, (kind, data) in enumerate(chunks[1:], start=1):
        if place == first:
            written.append(_chunk(b"IDAT", zlib.compress(rows.tobytes(), 0)))
        elif kind != b"IDAT":
            written.append(_chunk(kind, data))
    made = b"".join(written)
    if not np.array_equal(_pixels(made, what).reshape(pixels.shape), pixels):
        raise DatasetError(f"{what} came back with other pixels, so it was not converted. Please report this.")
    return made


def _pixels(content: bytes, what: str) -> Pixels:
    """As stored: a palette's indices, not its colours."""
    return decode(content, what, lambda opened: np.array(opened.image))


def _chunks(content: bytes, what: str) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        if len(data) < length:
            break
        yield kind, data
        at += 12 + length
        if kind == b"IEND":
            return
    raise DatasetError(f"{what} cannot be read: the file breaks off. Replace or remove it.")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
