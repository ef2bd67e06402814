"""Encoders and classifiers of texts that others trained, as source models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from muster.models.adapted import Adapted
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.cutting import as_convolution
from muster.models.hub_files import licence_in
from muster.models.segmenter import linear_head
from muster.models.source_model import SourceModel
from muster.models.text_encoder import TEXT, TextBody, TextConfig, build_text_body
from muster.models.text_loading import classifier_in, encoder_in


class TextModel(Adapted):
    """A classifier of texts with its own last layer, or an encoder without one, which has no source classes."""

    def score(
        self, features: Float[Tensor, "batch channels map_height map_width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """See :meth:`SourceModel.score`; no scores without a classifier."""
        return super().score(features) if self._num_classes else features[:, :0]


def adopt_text(entry: Adoption, folder: Path, config: Any) -> Adopted:
    """Take over a model of texts.

    Args:
        entry: What the user says of it; ``arguments: {pooling: first}`` of an encoder without a classifier.
        folder: Where it lies.
        config: Its config.

    Returns:
        A classifier, if the model was saved as one, or a backbone.

    Raises:
        ConfigError: If it cannot be read or understood.
    """
    if given := [name for name in ("mean", "std", "image_size", "channel_order", "layer") if getattr(entry, name)]:
        raise entry.error(f"{', '.join(given)}: {folder} is a model of texts, which has none")
    pooling = entry.arguments.get("pooling", "mean")
    if set(entry.arguments) > {"pooling"} or pooling not in ("mean", "first"):
        raise entry.error(f"arguments: expected 'pooling: mean' or 'pooling: first', but got {entry.arguments}")
    named = (getattr(config, "architectures", None) or [""])[0]
    if not named.endswith("ForSequenceClassification"):
        if entry.classes or entry.data:
            raise entry.error(f"classes, data: {folder} is an encoder without a classifier; leave them out")
        body = encoder_in(str(folder), pooling)
        model = TextModel(_blueprint(named or type(body.network).__name__, body), body, nn.Identity(), 0)
        return Adopted(model.eval(), (), licence_in(folder))
    if entry.arguments:
        raise entry.error(
            "arguments: pooling is for encoders without a classifier, and this one reads what it was made for"
        )
    body, head, network = classifier_in(folder, config)
    model = TextModel(_blueprint(type(network).__name__, body), body, as_convolution(head), head.out_features)
    return Adopted(model.eval(), entry.class_names(head.out_features, _names_in(config)), licence_in(folder))


def build_text_model(blueprint: Blueprint) -> SourceModel:
    """Build a model of texts again, to load weights into.

    Args:
        blueprint: One that a model of :func:`adopt_text` carries.

    Raises:
        ConfigError: If it cannot be followed.
    """
    known = TextConfig.of(blueprint.config[TEXT])
    body = build_text_body(known)
    classes = len(known.config.get("id2label", ())) if known.classifier else 0
    head: nn.Module = linear_head(body.feature_channels, classes, seed=0) if classes else nn.Identity()
    return TextModel(blueprint, body, head, classes).eval()


def _blueprint(architecture: str, body: TextBody) -> Blueprint:
    return Blueprint("transformers", architecture, body.described())


def _names_in(config: Any) -> tuple[str, ...]:
    """Class names in the order of the scores; none if they are only numbered."""
    ordered = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    return () if all(name == f"LABEL_{index}" for index, name in enumerate(ordered)) else ordered
