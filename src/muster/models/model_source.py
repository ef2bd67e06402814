"""A model source: where networks come from, and how they are built again from their blueprints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from muster.data import ImageSize, Preprocessing
from muster.errors import ConfigError
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.source_model import SourceModel
from muster.registry import Registry


@dataclass(frozen=True)
class Facts:
    """What a network of some library says of itself.

    Attributes:
        preprocessing: How it wants its images; ``None`` if it does not say.
        classes: Its classes in the order of its scores; none if it does not say.
        usual_side: Side of the images that it was made for; 0 if it does not say.
        licence: Terms of its weights; empty if it does not say.
        task: Name of the task that it was trained for, if it says that.
    """

    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] = ()
    usual_side: int = 0
    licence: str = ""
    task: str = ""


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

    def facts_of(self, network: nn.Module) -> Facts | None:  # noqa: ARG002 (for those whose networks say something)
        """What a network that somebody holds in Python says of itself.

        Args:
            network: Of any library, as it is there.

        Returns:
            ``None`` for a network of another library, or one that says nothing.
        """
        return None


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


def usual_side_of(entry: Adoption, network: nn.Module) -> int:
    """Side of the images that a network was made for: what the user says, or what it says itself.

    Args:
        entry: What the user says of it.
        network: As it is there.

    Returns:
        In pixels; 0 if nobody says it.

    Raises:
        ConfigError: If the user's ``image_size`` is none.
    """
    said = None if entry.image_size is None else ImageSize.of(entry.image_size)
    return max(said.fixed) if said is not None and said.fixed else facts_of(network).usual_side


def facts_of(network: nn.Module) -> Facts:
    """What a network that somebody holds in Python says of itself, whatever library it is of.

    Args:
        network: As it is there.

    Returns:
        The facts; empty ones of a network that says nothing.
    """
    found = (source.facts_of(network) for source in SOURCES)
    return next((facts for facts in found if facts is not None), Facts())
