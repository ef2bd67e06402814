"""Encoders of texts by name: small ones to be trained from scratch, and those of transformers, in a folder or a hub."""

from __future__ import annotations

from pathlib import Path

from muster.errors import ConfigError, PretrainingError, unknown_name
from muster.extras import needs_extra
from muster.models.family import FAMILIES, Family
from muster.models.segmenter import Body
from muster.models.text_encoder import Pooling, TextConfig, build_text_body, config_of
from muster.models.text_loading import encoder_in, text_config_in

PREFIX = "text:"

_SIZES = {
    "tiny": (32, 2, 2, 64, 2048),
    "small": (128, 4, 4, 512, 8192),
}
"""BERTs: width, layers, heads, width within a layer, and how many numbers there are for words (by their checksum)."""

_POOLINGS: dict[str, Pooling] = {"transformers:": "mean", "transformers_first:": "first"}
"""What stands before a model of transformers, and what stands for a text then."""


class SmallTextFamily(Family):
    """``text:tiny`` and ``text:small``."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Family.names`."""
        return tuple(f"{PREFIX}{size}" for size in _SIZES)

    def takes(self, architecture: str) -> bool:
        """See :meth:`Family.takes`."""
        return architecture.startswith(PREFIX)

    def check(self, architecture: str) -> None:
        """See :meth:`Family.check`."""
        if architecture not in self.names():
            raise ConfigError(unknown_name("architecture", architecture, self.names()))

    def build(self, architecture: str, imagenet: bool) -> Body:
        """See :meth:`Family.build`."""
        _refuse_imagenet(architecture, imagenet)
        transformers = needs_extra("transformers", "huggingface")
        width, layers, heads, within, words = _SIZES[architecture.removeprefix(PREFIX)]
        config = transformers.BertConfig(
            vocab_size=words, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=within,
        )  # fmt: skip
        return build_text_body(TextConfig(config_of(config)))


class TransformersFamily(Family):
    """``transformers:NAME``, a folder or a name on a hub, tokens averaged; ``transformers_first:NAME``, the first."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Family.names`."""
        return tuple(f"{prefix}NAME" for prefix in _POOLINGS)

    def takes(self, architecture: str) -> bool:
        """See :meth:`Family.takes`."""
        return architecture.startswith(tuple(_POOLINGS))

    def check(self, architecture: str) -> None:
        """See :meth:`Family.check`."""
        if not architecture.partition(":")[2]:
            raise ConfigError(
                f"Architecture {architecture!r} needs a folder, or a name on a hub, e.g. "
                "'transformers:google-bert/bert-base-uncased'."
            )

    def build(self, architecture: str, imagenet: bool) -> Body:
        """See :meth:`Family.build`; of the folder its config and its tokenizer are taken."""
        _refuse_imagenet(architecture, imagenet)
        pooling, name = _apart(architecture)
        known, content = text_config_in(name, pooling)
        body = build_text_body(known)
        body.put_tokenizer(content)
        return body

    def build_published(self, architecture: str) -> Body:
        """See :meth:`Family.build_published`."""
        pooling, name = _apart(architecture)
        try:
            return encoder_in(name, pooling)
        except ConfigError as error:
            raise PretrainingError(str(error)) from error

    def published_file(self, architecture: str) -> Path | None:
        """See :meth:`Family.published_file`."""
        files = sorted(Path(_apart(architecture)[1]).expanduser().glob("*.safetensors"))
        return files[0] if len(files) == 1 else None


def _apart(architecture: str) -> tuple[Pooling, str]:
    prefix, _, name = architecture.partition(":")
    return _POOLINGS[f"{prefix}:"], name


def _refuse_imagenet(architecture: str, imagenet: bool) -> None:
    if imagenet:
        raise PretrainingError(
            f"pretraining: imagenet is for networks of images, and {architecture!r} reads texts. Use none, or "
            "published (transformers:NAME)."
        )


# Families are asked in the order of these names, and SMP's takes every name with a colon.
FAMILIES.add("of_texts", SmallTextFamily())
FAMILIES.add("of_transformers", TransformersFamily())
