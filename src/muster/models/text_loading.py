"""Read encoders of texts, and classifiers of texts, of Hugging Face transformers from a folder or a hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from muster.errors import ConfigError
from muster.extras import needs_extra
from muster.models.hub_files import local_or_hub
from muster.models.text_encoder import Pooling, TextBody, TextConfig, body_of, config_of

FILES = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "*.model", "README.md"),
)
"""What is wanted of a hub beside weights."""

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Of which one at least is there where there is a tokenizer."""

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")

_MOST_TOKENS = 1_000_000
"""Where a tokenizer knows no limit, it says a larger number."""

_PLACES_BEHIND_PADDING = ("roberta", "roberta-prelayernorm", "xlm-roberta", "camembert", "data2vec-text", "mpnet")
"""Models that count the places of tokens from behind the number of the padding on, so that they take fewer."""

_USUAL_TOKENS = 512
"""Taken of a text where neither tokenizer nor network says more or less."""


def text_config_in(model: str, pooling: Pooling) -> tuple[TextConfig, bytes]:
    """How the encoder in a folder is built, and its tokenizer; weights are not looked at.

    Args:
        model: A folder, or a name on a hub.
        pooling: What stands for a text.

    Returns:
        The config, and the content of ``tokenizer.json``.

    Raises:
        ConfigError: If they cannot be had, or are not those of an encoder of texts.
    """
    folder = local_or_hub(model, FILES)
    config = config_in(folder)
    content, most = _tokenizer_in(folder)
    return _known_of(config, content, most, pooling), content


def encoder_in(model: str, pooling: Pooling) -> TextBody:
    """The encoder in a folder with its weights and its tokenizer.

    Args:
        model: A folder, or a name on a hub.
        pooling: What stands for a text.

    Returns:
        In evaluation mode.

    Raises:
        ConfigError: As :func:`text_config_in`; or if there are no weights as safetensors, or some are missing.
    """
    folder = local_or_hub(model, (*FILES, *_WEIGHTS))
    config = config_in(folder)
    content, most = _tokenizer_in(folder)
    network = load(folder, config, needs_extra("transformers", "huggingface").AutoModel, ("pooler.",))
    return _with_tokenizer(body_of(_known_of(config, content, most, pooling), network), content)


def classifier_in(folder: Path, config: Any) -> tuple[TextBody, nn.Linear, Any]:
    """A classifier of texts with its weights and its tokenizer, cut before its last linear layer.

    Args:
        folder: Where it lies.
        config: Its config.

    Returns:
        All before its classifier, that classifier, and the network as it came.

    Raises:
        ConfigError: If it cannot be read, gives anything but one class for a text, or no linear layer makes its scores.
    """
    transformers = needs_extra("transformers", "huggingface")
    if config.num_labels < 2 or getattr(config, "problem_type", None) in ("multi_label_classification", "regression"):
        raise ConfigError(
            f"model: {folder} does not give one of several classes ({config.num_labels} outputs, "
            f"{getattr(config, 'problem_type', None)}). Expected a classifier of texts."
        )
    content, most = _tokenizer_in(folder)
    network = load(folder, config, transformers.AutoModelForSequenceClassification, ())
    known = replace(_known_of(config, content, most, "first"), kind=type(network).__name__)
    place = _classifier_of(network, config.num_labels)
    head = network.get_submodule(place)
    return _with_tokenizer(body_of(replace(known, classifier=place), network), content), head, network


def config_in(folder: Path) -> Any:
    """The config of a model of transformers.

    Raises:
        ConfigError: If it cannot be read, or the model has an encoder and a decoder.
    """
    transformers = needs_extra("transformers", "huggingface")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigError(f"model: transformers cannot read the config in {folder}: {error}") from error
    if getattr(config, "is_encoder_decoder", False) or not hasattr(config, "vocab_size"):
        raise ConfigError(
            f"model: {config.model_type!r} in {folder} is no encoder of texts. Expected one such as BERT, DistilBERT "
            "or RoBERTa."
        )
    return config


def load(folder: Path, config: Any, auto: Any, unread: tuple[str, ...]) -> Any:
    """A network with its weights, from safetensors alone; code that comes with a model is never run.

    Args:
        folder: Where they lie.
        config: Its config.
        auto: A class of transformers that builds it.
        unread: Beginnings of the names of weights that may be missing, as nothing reads them.

    Raises:
        ConfigError: If there are none, or some are missing.
    """
    if not list(folder.glob("*.safetensors")):
        raise ConfigError(
            f"model: {folder} has no weights as .safetensors, and others can run code when they are opened. Save it "
            "again by transformers: model.save_pretrained(FOLDER)."
        )
    transformers = needs_extra("transformers", "huggingface")
    transformers.utils.logging.disable_progress_bar()
    try:
        network, info = auto.from_pretrained(
            folder, config=config, trust_remote_code=False, local_files_only=True, use_safetensors=True,
            output_loading_info=True, dtype=torch.float32,
        )  # fmt: skip
    except (ValueError, OSError, KeyError, RuntimeError, ImportError) as error:
        raise ConfigError(f"model: transformers cannot load {folder}: {error}") from error
    lost = [key for key in map(str, (*info["missing_keys"], *info["mismatched_keys"])) if not key.startswith(unread)]
    if lost:
        raise ConfigError(f"model: {folder} lacks weights of {type(network).__name__}, e.g. {lost[0]}.")
    return network.eval()


def _tokenizer_in(folder: Path) -> tuple[bytes, int]:
    """The tokenizer as ``tokenizer.json`` has it, and how many tokens it says that its model takes."""
    transformers = needs_extra("transformers", "huggingface")
    if not any(any(folder.glob(file)) for file in _TOKENIZERS):  # the library would make one that knows no word
        raise ConfigError(f"model: {folder} has no tokenizer: none of {', '.join(_TOKENIZERS)} is there.")
    try:
        found = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        content = found.backend_tokenizer.to_str().encode("utf-8")
    except (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise ConfigError(
            f"model: the tokenizer in {folder} is none that the library tokenizers can read: {error}. Put its "
            "tokenizer.json there, as tokenizer.save_pretrained(FOLDER) writes it."
        ) from error
    most = int(found.model_max_length)
    return content, most if most < _MOST_TOKENS else 0


def _known_of(config: Any, content: bytes, most: int, pooling: Pooling) -> TextConfig:
    padding = getattr(config, "pad_token_id", None) or 0
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in _PLACES_BEHIND_PADDING:
        positions -= padding + 1
    limits = [each for each in (most, positions) if each]
    return TextConfig(config_of(config), len(content), min(limits, default=_USUAL_TOKENS), padding, pooling)


def _with_tokenizer(body: TextBody, content: bytes) -> TextBody:
    body.put_tokenizer(content)
    body.eval()
    return body


@torch.no_grad()
def _classifier_of(network: Any, classes: int) -> str:
    """The last linear layer that gives as many numbers as there are classes, if it is what makes the scores."""
    linear = [name for name, each in network.named_modules() if isinstance(each, nn.Linear)]
    fitting = [name for name in linear if network.get_submodule(name).out_features == classes]
    given: list[torch.Tensor] = []
    if fitting:
        ids = torch.tensor([[1, 2, 3]]).clamp(max=network.config.vocab_size - 1)
        handle = network.get_submodule(fitting[-1]).register_forward_hook(lambda *passed: given.append(passed[-1]))
        scores = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        handle.remove()
        # Of networks that score every token, the scores of one of them count.
        if any(torch.allclose(scores[0], row) for each in given for row in each.reshape(-1, classes)):
            return str(fitting[-1])
    raise ConfigError(f"model: no linear layer of {type(network).__name__} gives its scores.")
