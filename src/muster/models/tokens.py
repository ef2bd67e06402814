"""Tokenizers of encoders of texts: the one that a published model brings, or words by number where there is none."""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from muster.errors import ConfigError
from muster.extras import needs_extra

_WORD = re.compile(r"\w+|[^\w\s]")
_BEGIN, _FIRST_WORD = 1, 2


class Tokens(NamedTuple):
    """Texts as an encoder takes them.

    Attributes:
        ids: int64 ``[texts, tokens]``, as many columns as the longest text needs.
        mask: Likewise: 1 for a token, 0 behind the end of a text.
    """

    ids: Int64[Tensor, "texts tokens"]
    mask: Int64[Tensor, "texts tokens"]


class Tokenizer(ABC):
    """Makes numbers of a text."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The tokens of one text, with those that the encoder wants around it."""


class HashedWords(Tokenizer):
    """Words in small letters, and marks, each numbered by its checksum: no vocabulary is needed, in any language.

    Words share a number now and then, the more the fewer numbers there are.

    Source:
        Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009, for features of linear models.
    """

    def __init__(self, numbers: int, most: int) -> None:
        """Say how many numbers there are.

        Args:
            numbers: Size of the encoder's table; 0 is for what is no token, 1 begins every text.
            most: Tokens of a text, the first one included; further words are left out.
        """
        self._numbers, self._most = numbers, most

    def encode(self, text: str) -> list[int]:
        """See :class:`Tokenizer`."""
        words = _WORD.findall(text.lower())[: self._most - 1]
        span = self._numbers - _FIRST_WORD
        return [_BEGIN, *(_FIRST_WORD + zlib.crc32(word.encode("utf-8", "replace")) % span for word in words)]


class PublishedTokenizer(Tokenizer):
    """A tokenizer of the library ``tokenizers``, from the content of its ``tokenizer.json``."""

    def __init__(self, content: bytes, most: int) -> None:
        """Read it.

        Args:
            content: The file.
            most: Tokens of a text, special ones included; the end of longer texts is left out.

        Raises:
            ConfigError: If the library cannot read it.
        """
        library = needs_extra("tokenizers", "huggingface")
        try:
            self._tokenizer: Any = library.Tokenizer.from_str(content.decode("utf-8"))
        except Exception as error:  # the library raises no class of its own
            raise ConfigError(f"The tokenizer cannot be read: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(most)

    def encode(self, text: str) -> list[int]:
        """See :class:`Tokenizer`."""
        # One by one: encoding of whole batches starts threads, after which the library warns of every new process.
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str], padding: int, device: torch.device) -> Tokens:
    """The tokens of several texts.

    Args:
        tokenizer: Makes those of one.
        texts: At least one.
        padding: The number behind the end of shorter ones.
        device: Where to have them.

    Returns:
        At least one token for each text: of a text without any the padding counts as one.
    """
    rows = [tokenizer.encode(text) or [padding] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [padding] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return Tokens(ids.to(device), mask.to(device))
