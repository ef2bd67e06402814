"""Texts in place of images: a row of characters, which a member makes tokens of by its own tokenizer.

A text is kept as an image of one channel and one row is: int32 ``[1, 1, characters]``, the code point of each of its
characters. Prepared, it has a given number of them, 0 behind its end, as float32, which holds all code points exactly.
So everything that reads, batches, keeps and hands on images does the same with texts.

Axis names: ``b`` texts, ``characters`` of a text as stored, ``length`` the number of characters that is seen.
"""

from __future__ import annotations

import unicodedata

import numpy as np
import torch
from jaxtyping import Float32, Int32, Num
from torch import Tensor
from torch.nn import functional

from muster.errors import DatasetError

LARGEST = 0x10FFFF
"""The last code point."""

_CODES = "utf-32-le"


def encode_text(text: str, called: str = "The text") -> Int32[Tensor, "1 1 characters"]:
    """Keep a text as an image is kept.

    Args:
        text: Composed (NFC) first, so that equal texts are equal.
        called: What messages call it.

    Returns:
        The code point of each character.

    Raises:
        DatasetError: If there is nothing in it but spaces.
    """
    composed = unicodedata.normalize("NFC", text).replace("\0", " ")
    if not composed.strip():
        raise DatasetError(f"{called} is empty: expected at least one word.")
    codes = np.frombuffer(composed.encode(_CODES, "replace"), dtype="<i4").astype(np.int32)
    return torch.from_numpy(codes)[None, None]


def cut_text(text: Num[Tensor, "*b 1 1 characters"], length: int) -> Float32[Tensor, "*b 1 1 length"]:
    """What is seen of a text.

    Args:
        text: As stored.
        length: How many characters; what is beyond is cut off, and behind the end of a shorter text there are zeros.

    Returns:
        On the same device.
    """
    seen = text[..., :length].float()
    return functional.pad(seen, (0, length - seen.shape[-1]))


def decode_texts(texts: Num[Tensor, "b channels rows columns"]) -> list[str]:
    """Read texts again, from what :func:`encode_text` or :func:`cut_text` made.

    Args:
        texts: On any device. Zeros, and numbers that are no code point, are passed over.

    Returns:
        One string a text.
    """
    codes = texts.detach().flatten(1).cpu().double().round().numpy()
    rows = (row[(row > 0) & (row <= LARGEST)] for row in codes)
    return [row.astype("<u4").tobytes().decode(_CODES, "replace") for row in rows]


def decode_text(text: Num[Tensor, "channels rows columns"]) -> str:
    """Read one text again, see :func:`decode_texts`."""
    return decode_texts(text[None])[0]


def words_of_length(count: int, length: int, device: torch.device) -> Float32[Tensor, "b 1 1 length"]:
    """Prepared texts that say nothing, to time networks with: words of four letters.

    Args:
        count: How many.
        length: Of each, in characters.
        device: Where to have them.
    """
    words = cut_text(encode_text("word " * (length // 5 + 1)), length)
    return words.to(device).expand(count, 1, 1, length)
