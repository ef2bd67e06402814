"""Networks that muster builds and trains itself, by the name of their architecture."""

from __future__ import annotations

from muster.errors import ConfigError
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.build import build_model
from muster.models.model_source import SOURCES, ModelSource
from muster.models.segmenter import CHANNELS, HEADS, Segmenter
from muster.models.source_heads import put_source_heads
from muster.models.source_model import SourceModel
from muster.models.text_encoder import TEXT, TextConfig, build_text_body


class Native(ModelSource):
    """``native``: :func:`muster.models.build_model`."""

    def adopt(self, entry: Adoption) -> Adopted:
        """Nothing that muster trained has to be adopted.

        Raises:
            ConfigError: Always.
        """
        raise entry.error("from: native is for members that muster trains. Put their folders into the pool as they are")

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:
        """See :meth:`ModelSource.build`."""
        if TEXT in blueprint.config:  # whole in itself: what its architecture names may lie elsewhere, or nowhere
            body = build_text_body(TextConfig.of(blueprint.config[TEXT]))
            model = Segmenter(blueprint.architecture, body, num_classes)
        else:
            model = build_model(blueprint.architecture, num_classes)
        channels = blueprint.config.get(CHANNELS, model.in_channels)
        if not isinstance(channels, int):
            raise ConfigError(f"Expected a number of channels for {blueprint.architecture!r}, but got {channels!r}.")
        model.adapt_channels(channels)
        if HEADS in blueprint.config:
            put_source_heads(model, _heads(blueprint, num_classes), seed=0)
        return model


def _heads(blueprint: Blueprint, num_classes: int) -> list[int]:
    """The classes of each head, which have to be all that there are."""
    heads = blueprint.config[HEADS]
    if not isinstance(heads, list) or not all(isinstance(count, int) for count in heads) or sum(heads) != num_classes:
        raise ConfigError(
            f"Expected numbers of classes that add up to {num_classes} for the heads of {blueprint.architecture!r}, "
            f"but got {heads!r}."
        )
    return heads


SOURCES.add("native", Native())
