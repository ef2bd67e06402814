"""Tiny models of texts as transformers saves them, with a vocabulary of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = ["the", "a", "film", "was", "good", "bad", "dull", "great", "and", "not", "very", "!", ".", "play", "##s"]
TEXTS = ["The film was good!", "a dull play", "not very great plays and films .", "bad"]


def save_tokenizer(folder: Path, **more: Any) -> Any:
    """A WordPiece vocabulary of :data:`WORDS`, as BERT's tokenizer has it."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    found = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", **more
    )
    found.save_pretrained(folder)
    return found


def save_model(folder: Path, kind: str, seed: int = 0, **config: Any) -> Any:
    """A model with random weights of a class of transformers, such as ``BertForSequenceClassification``."""
    import transformers

    cls = getattr(transformers, kind)
    # Weights of the usual size would hardly tell anything apart.
    sizes = {
        "vocab_size": 4 + len(WORDS), "pad_token_id": 0, "max_position_embeddings": 40, "initializer_range": 0.3,
    }  # fmt: skip
    if kind.startswith("Distil"):
        sizes |= {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}
    else:
        sizes |= {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
        }  # fmt: skip
    torch.manual_seed(seed)
    model = cls(cls.config_class(**{**sizes, **config})).eval()
    model.save_pretrained(folder)
    return model
