"""A pre-training scheme: where the weights of a network come from before it is trained on its source dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from muster.errors import PretrainingError
from muster.models.family import Family
from muster.models.segmenter import Body
from muster.registry import SpelledRegistry


@dataclass(frozen=True)
class StartedBody:
    """A body with the weights that a scheme sets.

    Attributes:
        body: Everything before the head.
        known: Where the weights come from, for a card: ``source``, and where they are known ``sha256`` of the file,
            ``licence``, and ``tensors``, how many were loaded. Empty for random weights.
    """

    body: Body
    known: dict[str, str] = field(default_factory=dict)


class Scheme(ABC):
    """What one file of :mod:`muster.models.pretraining` offers; unless it says otherwise, weights stay random."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What users write; a part in capitals, as in ``PATH.safetensors``, stands for many."""

    def takes(self, pretraining: str) -> bool:
        """Whether what a user wrote is meant for this scheme."""
        return pretraining in self.names()

    def file(self, family: Family, architecture: str, pretraining: str) -> Path | None:  # noqa: ARG002 (some have one)
        """The local file that weights come from, checked to be there; ``None`` if there is none.

        Args:
            family: Builds the architecture.
            architecture: A name that the family takes.
            pretraining: What the user wrote.

        Raises:
            PretrainingError: If it is missing, or of a kind that is not read.
        """
        return None

    def build_body(self, family: Family, architecture: str, pretraining: str) -> StartedBody:  # noqa: ARG002 (likewise)
        """Build everything before the head, with the weights that the scheme sets.

        Args:
            family: Builds it.
            architecture: A name that the family takes.
            pretraining: What the user wrote.

        Returns:
            The body; weights that the scheme does not set are drawn from the global generator.

        Raises:
            PretrainingError: If the weights cannot be had, read, or do not fit.
        """
        return StartedBody(family.build(architecture, imagenet=False))


SCHEMES: SpelledRegistry[Scheme] = SpelledRegistry("pretraining", "muster.models.pretraining", PretrainingError)
"""All schemes; a file in :mod:`muster.models.pretraining` adds its own."""


def list_pretrainings() -> tuple[str, ...]:
    """Everything that can be written for ``pretraining``."""
    return SCHEMES.spellings()


def scheme_of(pretraining: str) -> Scheme:
    """The scheme that a user means.

    Args:
        pretraining: What the user wrote, e.g. ``"imagenet"`` or a path.

    Returns:
        The scheme.

    Raises:
        PretrainingError: If no scheme takes it.
    """
    return SCHEMES.meant_by("pretraining", pretraining)
