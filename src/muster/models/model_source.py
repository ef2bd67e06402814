"""A model source: where networks come from, and how they are built again from their blueprints."""

from __future__ import annotations

from abc import ABC, abstractmethod

from muster.errors import ConfigError
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.source_model import SourceModel
from muster.registry import Registry


class ModelSource(ABC):
    """What one file of :mod:`muster.models.sources` offers. It imports its library only when it is asked.

    Attributes:
        can_be_finetuned: Whether its models take a new head.
    """

    can_be_finetuned: bool = True

    @abstractmethod
    def adopt(self, entry: Adoption) -> Adopted:
        """Take over a model that others trained.

        Args:
            entry: What the user says of it.

        Returns:
            The model with its weights.

        Raises:
            ConfigError: If it cannot be had, read or understood.
        """

    @abstractmethod
    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:
        """Build a network with the classifier that it came with; its weights do not matter.

        Args:
            blueprint: One that a model of this source carries.
            num_classes: Classes that the weights to be loaded tell apart. Sources whose config has that number leave it
                to :func:`rebuild` to compare the two.

        Returns:
            The network, on the CPU.

        Raises:
            ConfigError: If the blueprint cannot be followed.
        """


SOURCES: Registry[ModelSource] = Registry("model source", "muster.models.sources", ConfigError)
"""All sources of models; a file in :mod:`muster.models.sources` adds its own."""


def rebuild(blueprint: Blueprint, num_classes: int) -> SourceModel:
    """Build a network to load weights into.

    Args:
        blueprint: Says how.
        num_classes: Classes that the weights to be loaded tell apart.

    Returns:
        The network, on the CPU; its weights do not matter.

    Raises:
        ConfigError: If no source has the blueprint's name, the blueprint cannot be followed, or the network's own
            classifier tells other than ``num_classes`` apart.
    """
    model = SOURCES[blueprint.source].build(blueprint, num_classes)
    if blueprint.new_head:
        model.replace_head(num_classes, seed=0, decoder=False)  # one that got a decoder is a native network
    if model.num_classes != num_classes:
        raise ConfigError(
            f"Expected {blueprint.architecture!r} with {num_classes} classes, but its config gives {model.num_classes}."
        )
    return model
