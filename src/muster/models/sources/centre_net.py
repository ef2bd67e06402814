"""Networks of any other source with heads that find objects."""

from __future__ import annotations

from muster.errors import ConfigError, unknown_name
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import INNER, Blueprint
from muster.models.centre_net import CENTRE_NET, HEADS, CentreNet
from muster.models.model_source import SOURCES, ModelSource, rebuild
from muster.models.source_model import SourceModel
from muster.records import parse_record


class CentreNetSource(ModelSource):
    """``centre_net``: another blueprint, in :data:`muster.models.blueprint.INNER`, and which ``heads``."""

    def adopt(self, entry: Adoption) -> Adopted:
        """Heads are no place where models come from.

        Raises:
            ConfigError: Always.
        """
        raise entry.error("from: centre_net is no source. Name where the network comes from")

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:
        """See :meth:`ModelSource.build`."""
        inner = parse_record(blueprint.config.get(INNER) or {}, Blueprint, INNER, ConfigError)
        kind = str(blueprint.config.get("heads"))
        if kind not in HEADS:
            raise ConfigError(f"heads: {unknown_name('kind of heads', kind, HEADS)}")
        return CentreNet(rebuild(inner, 1), num_classes, kind)


SOURCES.add(CENTRE_NET, CentreNetSource())
