"""A family of architectures: what one file of :mod:`muster.models.families` offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from muster.data.statistics import ChannelStatistics
from muster.errors import ConfigError, PretrainingError
from muster.models.segmenter import Body
from muster.registry import SpelledRegistry


class Family(ABC):
    """Networks that are built alike, by name."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What its architectures are called; a part in capitals, as in ``hrnet_wN``, stands for many."""

    @abstractmethod
    def takes(self, architecture: str) -> bool:
        """Whether a name, well formed or not, is meant for this family."""

    @abstractmethod
    def build(self, architecture: str, imagenet: bool) -> Body:
        """Build everything before the head.

        Args:
            architecture: A name that the family takes, and that was checked.
            imagenet: Whether to fetch ImageNet weights; all others are drawn from the global generator.

        Returns:
            The body.

        Raises:
            ConfigError: If the parts of the name do not go together.
            PretrainingError: If there are no ImageNet weights, or they cannot be fetched.
        """

    def build_published(self, architecture: str) -> Body:
        """Build everything before the head with the weights that the architecture itself names.

        Args:
            architecture: A name that the family takes, and that was checked.

        Raises:
            PretrainingError: If it names none.
        """
        raise PretrainingError(
            f"pretraining: {architecture!r} names no weights, so that none can be taken as published. Expected an "
            "encoder of texts in a folder or on a hub (transformers:NAME), or another pretraining."
        )

    def published_file(self, architecture: str) -> Path | None:  # noqa: ARG002 (some have one)
        """The local file of these weights; ``None`` if they are on a hub, or in several files."""
        return None

    def check(self, architecture: str) -> None:  # noqa: B027 (every name may be fine)
        """Refuse a name that cannot be built, without building anything.

        Args:
            architecture: A name that the family takes.

        Raises:
            ConfigError: If a part of it is not known.
        """

    def backbone(self, architecture: str) -> str:  # noqa: ARG002 (some families have one)
        """What timm or SMP call the part of a network that is pre-trained by itself; empty if there is none."""
        return ""

    def backbone_keys(self, body: Body) -> dict[str, str]:  # noqa: ARG002 (likewise)
        """Names of the backbone's tensors.

        Args:
            body: What :meth:`build` has built.

        Returns:
            For the name of each in ``body.state_dict()`` the name that it has in timm's or SMP's network.
        """
        return {}

    def hub_repository(self, architecture: str) -> str:  # noqa: ARG002 (likewise)
        """Where the hub has ImageNet weights, as ``owner/name``; empty if that is not known."""
        return ""

    def statistics(self, architecture: str) -> ChannelStatistics | None:  # noqa: ARG002 (likewise)
        """What images are normalised with where the backbone is usually pre-trained; ``None`` if that is not known."""
        return None


FAMILIES: SpelledRegistry[Family] = SpelledRegistry("family of architectures", "muster.models.families", ConfigError)
"""All families; a file in :mod:`muster.models.families` adds its own."""
