"""The weights that an architecture itself names: those beside the config of a model of transformers."""

from __future__ import annotations

from pathlib import Path

from muster.models.family import Family
from muster.models.pretraining.local import known_of_file
from muster.models.pretraining.scheme import SCHEMES, Scheme, StartedBody


class PublishedWeights(Scheme):
    """``published``: for architectures that are a folder, or a name on a hub."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Scheme.names`."""
        return ("published",)

    def file(self, family: Family, architecture: str, pretraining: str) -> Path | None:  # noqa: ARG002 (one name)
        """See :meth:`Scheme.file`."""
        return family.published_file(architecture)

    def build_body(self, family: Family, architecture: str, pretraining: str) -> StartedBody:  # noqa: ARG002 (likewise)
        """See :meth:`Scheme.build_body`."""
        body, file = family.build_published(architecture), family.published_file(architecture)
        return StartedBody(body, known_of_file(file) if file else {"source": f"hub {architecture.partition(':')[2]}"})


SCHEMES.add("published", PublishedWeights())
