"""A pre-training scheme: where the weights of a network come from before it is trained on its source dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from muster.errors import PretrainingError
from muster.models.family import Family
from muster.models.segmenter import Body, Segmenter
from muster.registry import SpelledRegistry


class Scheme(ABC):
    """What one file of :mod:`muster.models.pretraining` offers; unless it says otherwise, weights stay random."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What users write; a part in capitals, as in ``PATH.safetensors``, stands for many."""

    def takes(self, pretraining: str) -> bool:
        """Whether what a user wrote is meant for this scheme."""
        return pretraining in self.names()

    def file(self, pretraining: str) -> Path | None:  # noqa: ARG002 (some schemes have one)
        """The local file that weights come from, checked to be there; ``None`` if there is none.

        Raises:
            PretrainingError: If it is missing, or of a kind that is not read.
        """
        return None

    def build_body(self, family: Family, architecture: str, pretraining: str) -> Body:  # noqa: ARG002 (likewise)
        """Build everything before the head, with whatever weights the scheme sets at that time.

        Args:
            family: Builds it.
            architecture: A name that the family takes.
            pretraining: What the user wrote.

        Returns:
            The body; weights that the scheme does not set are drawn from the global generator.

        Raises:
            PretrainingError: If the weights cannot be had.
        """
        return family.build(architecture, imagenet=False)

    def load(self, model: Segmenter, pretraining: str) -> None:  # noqa: B027 (nothing is left to set)
        """Set weights of the finished network, in place.

        Args:
            model: The network with its head.
            pretraining: What the user wrote.

        Raises:
            PretrainingError: If the weights cannot be read or do not fit.
        """


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


def weights_file(pretraining: str) -> Path | None:
    """The local file that a pre-training starts from.

    Args:
        pretraining: What the user wrote.

    Returns:
        The file, or ``None`` for a scheme without one.

    Raises:
        PretrainingError: If no scheme takes it, if the file is not there, or if it is of a kind that holds pickled
            objects.
    """
    return scheme_of(pretraining).file(pretraining)
