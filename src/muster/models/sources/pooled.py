"""Networks of any other source whose map is averaged over the image."""

from __future__ import annotations

from muster.errors import ConfigError
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import INNER, Blueprint
from muster.models.model_source import SOURCES, ModelSource, rebuild
from muster.models.pooled import POOLED, Pooled
from muster.models.source_model import SourceModel
from muster.records import parse_record


class PooledSource(ModelSource):
    """``pooled``: another blueprint, in :data:`muster.models.blueprint.INNER`."""

    def adopt(self, entry: Adoption) -> Adopted:
        """Pooling is no place where models come from.

        Raises:
            ConfigError: Always.
        """
        raise entry.error("from: pooled is no source. Name where the network comes from")

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:
        """See :meth:`ModelSource.build`."""
        inner = parse_record(blueprint.config.get(INNER) or {}, Blueprint, INNER, ConfigError)
        return Pooled(rebuild(inner, num_classes))


SOURCES.add(POOLED, PooledSource())
