"""What is needed to build a network again before its weights are loaded, whatever library it is of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

INNER = "of"
"""Key of a config for the blueprint of a network that is wrapped in another."""


@dataclass(frozen=True)
class Blueprint:
    """How a network is built, in plain values, so that a card can hold it.

    Attributes:
        source: The model source that builds it: a file of :mod:`muster.models.sources`, e.g. ``"native"`` or ``"smp"``.
        architecture: What a reader calls it, e.g. ``"small_fpn"`` or ``"SegformerForSemanticSegmentation"``.
        config: What its library needs to know: a config, keyword arguments, the name of a builder.
        new_head: Whether the classifier that it came with has been replaced by a linear one of ours.
    """

    source: str
    architecture: str
    config: dict[str, Any] = field(default_factory=dict)
    new_head: bool = False

    @property
    def library(self) -> str:
        """The model source of the network itself, whatever it is wrapped in."""
        inner = self.config.get(INNER)
        return str(inner["source"]) if isinstance(inner, dict) and "source" in inner else self.source
