"""Encoders of texts of Hugging Face transformers, each with its own tokenizer, as bodies of source models.

A body is given texts as :mod:`muster.data.texts` prepares them, and makes tokens of them itself: its tokenizer is kept
among its weights, so that a member is whole wherever its weights are. What its layers make of the tokens is pooled to
one place, so to everything else it is a network whose maps have a single one.

Axis names: ``batch`` texts, ``length`` of the texts in characters, ``tokens`` of the longest, ``channels`` of a layer.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from muster.data.spec import TEXTS
from muster.data.texts import decode_texts, words_of_length
from muster.errors import ConfigError
from muster.expected import find_misfit
from muster.extras import needs_extra
from muster.models.segmenter import Body, StageMaps
from muster.models.tokens import HashedWords, PublishedTokenizer, Tokenizer, Tokens, tokens_of

TEXT = "text"
"""Key of a blueprint's config for what :class:`TextConfig` says."""

Pooling: TypeAlias = Literal["mean", "first"]
"""What stands for a text: the mean over its tokens, or the first, which many models are trained to have it in.

The mean is the default. Before a model is fine-tuned on whole texts its first token says little of them (Reimers and
Gurevych, Sentence-BERT, 2019, table 6), and members are looked at before that."""

_NOT_OF_NETWORKS = ("transformers_version", "torch_dtype", "dtype", "architectures", "_name_or_path")


@dataclass(frozen=True)
class TextConfig:
    """How an encoder is built again before its weights are loaded, in plain values.

    Attributes:
        config: What transformers needs to know, ``model_type`` included.
        tokenizer: Bytes of its tokenizer, which is among the weights; 0 for :class:`muster.models.tokens.HashedWords`.
        most: Tokens of a text that it can take.
        padding: The number of a token behind the end of a text.
        pooling: See :data:`Pooling`; what a classifier of its own reads is kept as it is.
        kind: Name of the class of transformers, if it is one with a classifier of its own; that is cut off.
        classifier: Where that classifier is in it.
    """

    config: dict[str, Any] = field(default_factory=dict)
    tokenizer: int = 0
    most: int = 512
    padding: int = 0
    pooling: str = "mean"
    kind: str = ""
    classifier: str = ""

    @classmethod
    def of(cls, content: Any) -> TextConfig:
        """Read what :meth:`TextBody.described` gave.

        Raises:
            ConfigError: If it is something else.
        """
        known = cls()
        if not isinstance(content, dict) or set(content) - set(asdict(known)):
            raise ConfigError(f"Expected what builds an encoder of texts, but got {content!r}.")
        for key, value in content.items():
            if misfit := find_misfit(f"{TEXT}.{key}", value, type(getattr(known, key))):
                raise ConfigError(misfit.sentence)
        return cls(**content)


class TextBody(Body):
    """An encoder with its tokenizer.

    Attributes:
        known: How it is built again.
        network: The encoder; of a network with a classifier of its own all but that.
        tokenizer: uint8, the content of ``tokenizer.json``; nothing where words are numbered.
    """

    side_multiple = 1
    in_channels = 1
    holds = TEXTS
    tokenizer: Tensor

    def __init__(self, known: TextConfig, network: nn.Module, feature_channels: int) -> None:
        """Take a network as it is.

        Args:
            known: See the class.
            network: Gives ``hidden_states``.
            feature_channels: Width of what the head reads.
        """
        super().__init__(feature_channels, minimum_side=1)
        self.known, self.network = known, network
        self.register_buffer("tokenizer", torch.zeros(known.tokenizer, dtype=torch.uint8))
        self._opened: Tokenizer | None = None
        self.register_load_state_dict_post_hook(_forget_tokenizer)  # type: ignore[no-untyped-call]

    def put_tokenizer(self, content: bytes) -> None:
        """Have a tokenizer, of as many bytes as :attr:`known` says.

        Args:
            content: Of ``tokenizer.json``.
        """
        self.tokenizer.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self._opened = None

    def described(self) -> dict[str, Any]:
        """See :meth:`Body.described`."""
        return {TEXT: asdict(self.known)}

    def blank_images(self, count: int, height: int, width: int, device: torch.device) -> Tensor:  # noqa: ARG002
        """See :meth:`Body.blank_images`: words that say nothing, in the one row that texts have."""
        return words_of_length(count, width, device)

    def forward(self, images: Float[Tensor, "batch 1 _ _"]) -> StageMaps:
        """What the embeddings and each layer make of texts, pooled; last what the head reads.

        Args:
            images: Texts as :func:`muster.data.texts.cut_text` prepares them.

        Returns:
            ``[batch, channels, 1, 1]`` of each.
        """
        ids, mask = self._tokens(images)
        # Without numbers nobody can look whether a mask is needed; all of the tokens are texts' then.
        given = None if mask.is_meta else mask
        output = self.network(input_ids=ids, attention_mask=given, output_hidden_states=True)
        layers = [self._pooled(each, mask) for each in output.hidden_states]
        features = [output.logits] if self.known.classifier else []
        return [[each[:, :, None, None]] for each in (*layers, *features)]

    def _pooled(self, hidden: Float[Tensor, "batch tokens channels"], mask: Int64[Tensor, "batch tokens"]) -> Tensor:
        if self.known.pooling == "first":
            return hidden[:, 0]
        weights = (mask / mask.sum(dim=1, keepdim=True)).to(hidden.dtype)
        return torch.einsum("btc,bt->bc", hidden, weights)

    def _tokens(self, images: Tensor) -> Tokens:
        if images.device.type == "meta":  # shapes alone are wanted, and texts may have a token for each character
            count = min(images[0].numel(), self.known.most)
            ids = torch.zeros(len(images), count, dtype=torch.int64, device=images.device)
            return Tokens(ids, torch.ones_like(ids))
        if self._opened is None:
            self._opened = self._open()
        return tokens_of(self._opened, decode_texts(images), self.known.padding, images.device)

    def _open(self) -> Tokenizer:
        if not self.tokenizer.any():  # none, or not loaded yet: to look at a network that was built anew, any will do
            return HashedWords(int(self.known.config["vocab_size"]), self.known.most)
        return PublishedTokenizer(self.tokenizer.cpu().numpy().tobytes(), self.known.most)


def _forget_tokenizer(body: nn.Module, _: object) -> None:
    """Weights were loaded, and another tokenizer may be among them."""
    body._opened = None  # type: ignore[assignment]


def build_text_body(known: TextConfig) -> TextBody:
    """Build an encoder anew.

    Args:
        known: How.

    Returns:
        With weights from the global generator, and without a tokenizer in it where it has one of its own.

    Raises:
        ConfigError: If transformers cannot build it, or it is not one of the kind that is known.
    """
    transformers = needs_extra("transformers", "huggingface")
    content = deepcopy(known.config)
    try:
        config = transformers.AutoConfig.for_model(content.pop("model_type"), **content)
        kind = getattr(transformers, known.kind) if known.kind else None
        network = transformers.AutoModel.from_config(config) if kind is None else kind(config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"transformers cannot build an encoder of texts: {error}") from error
    return body_of(known, network)


def body_of(known: TextConfig, network: Any) -> TextBody:
    """Cut a network of transformers where its features are.

    Args:
        known: Says where; its tokenizer is put in afterwards.
        network: With or without weights; it is changed.

    Raises:
        ConfigError: If it has no such classifier.
    """
    if known.classifier:
        try:
            channels = network.get_submodule(known.classifier).in_features
        except AttributeError as error:
            raise ConfigError(f"{known.kind} is built otherwise than when it was adopted: {error}.") from error
        parent, _, last = known.classifier.rpartition(".")
        setattr(network.get_submodule(parent), last, nn.Identity())
        return TextBody(known, network, channels)
    if getattr(network, "pooler", None) is not None:
        network.pooler = None  # its output is not read: tokens are pooled here
    return TextBody(known, network, network.config.hidden_size)


def config_of(config: Any) -> dict[str, Any]:
    """What transformers needs to build a network again, in plain values."""
    content = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in content.items() if key not in _NOT_OF_NETWORKS and key != "label2id"}
