"""Networks that muster builds and trains itself, by the name of their architecture."""

from __future__ import annotations

from muster.errors import ConfigError
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.build import build_model
from muster.models.model_source import SOURCES, ModelSource
from muster.models.segmenter import CHANNELS
from muster.models.source_model import SourceModel


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
        model = build_model(blueprint.architecture, num_classes)
        channels = blueprint.config.get(CHANNELS, model.in_channels)
        if not isinstance(channels, int):
            raise ConfigError(f"Expected a number of channels for {blueprint.architecture!r}, but got {channels!r}.")
        model.adapt_channels(channels)
        return model


SOURCES.add("native", Native())
