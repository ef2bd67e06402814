"""How a network is pre-trained with SimCLR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from muster.errors import ConfigError
from muster.limits import require_real, require_seed, require_whole
from muster.models import Body

_MOST_STEPS = 10**8
_MOST_PIXELS = 4096
_MOST_CHANNELS = 1 << 16


@dataclass(frozen=True)
class SimCLRSettings:
    """How a network is pre-trained with SimCLR.

    Attributes:
        steps: Optimiser steps.
        batch_size: Images a step, over all devices; each is told from all others, so that larger batches learn more.
        optimizer: lars, for large batches; or adamw, for small ones and few steps.
        learning_rate: At its highest; by default 0.3 for every 256 images of a batch with lars (the paper's), and 0.001
            with adamw.
        weight_decay: Pull of weights towards 0; those of normalisations and biases are left alone.
        warmup_fraction: Share of the steps in which the rate rises; then it falls as a cosine.
        temperature: What similarities are divided by.
        view_size: Side of a view in pixels.
        smallest_crop: Least share of an image's area that a view shows.
        colour_strength: How far brightness, contrast, saturation and hue are changed; 1 is the paper's for photographs.
        blur: Probability that a view is blurred.
        hidden_channels: Width of the hidden layer of the projection that the loss looks at; it is thrown away.
        projection_channels: Width of its output.
        checkpoint_every: Steps from one checkpoint to the next.
        seed: The seed of fresh weights, order and views.
    """

    steps: int = 10_000
    batch_size: int = 256
    optimizer: Literal["lars", "adamw"] = "lars"
    learning_rate: float | None = None
    weight_decay: float = 1e-6
    warmup_fraction: float = 0.1
    temperature: float = 0.1
    view_size: int = 224
    smallest_crop: float = 0.08
    colour_strength: float = 1.0
    blur: float = 0.5
    hidden_channels: int = 2048
    projection_channels: int = 128
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number is out of its range.
        """
        require_whole("training.steps", self.steps, 1, _MOST_STEPS)
        require_whole("training.batch_size", self.batch_size, 2)
        require_whole("training.view_size", self.view_size, 8, _MOST_PIXELS)
        require_whole("training.hidden_channels", self.hidden_channels, 1, _MOST_CHANNELS)
        require_whole("training.projection_channels", self.projection_channels, 1, _MOST_CHANNELS)
        require_whole("training.checkpoint_every", self.checkpoint_every, 1)
        require_seed("training.seed", self.seed)
        if self.learning_rate is not None:
            require_real("training.learning_rate", self.learning_rate, 1e-9, 1e6)
        require_real("training.weight_decay", self.weight_decay, 0.0, 1e3)
        require_real("training.warmup_fraction", self.warmup_fraction, 0.0, 0.9)
        require_real("training.temperature", self.temperature, 1e-3, 1e3)
        require_real("training.smallest_crop", self.smallest_crop, 1e-3, 1.0)
        require_real("training.colour_strength", self.colour_strength, 0.0, 1.25)  # hue changes by half a turn at most
        require_real("training.blur", self.blur, 0.0, 1.0)
        if self.optimizer == "lars" and self.weight_decay == 0:
            raise ConfigError(
                "training.weight_decay: expected more than 0 with lars, which adapts the rate of none but decayed "
                "weights, but got 0."
            )

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.3 * self.batch_size / 256 if self.optimizer == "lars" else 1e-3

    @property
    def warmup_steps(self) -> int:
        """Steps in which the rate rises."""
        return round(self.warmup_fraction * self.steps)

    def require_fitting(self, body: Body, processes: int) -> None:
        """Check them against a network and the devices.

        Args:
            body: What is pre-trained.
            processes: How many share a batch.

        Raises:
            ConfigError: If views have a size that the network cannot see, or a device would have fewer than two images.
        """
        if self.view_size % body.side_multiple or self.view_size < body.minimum_side:
            raise ConfigError(
                f"training.view_size: expected a multiple of {body.side_multiple} from {body.minimum_side} on for this "
                f"architecture, but got {self.view_size}."
            )
        if self.batch_size % processes or self.batch_size < 2 * processes:
            raise ConfigError(
                f"training.batch_size: expected a multiple of the {processes} devices that share each batch, at least "
                f"2 for each, but got {self.batch_size}."
            )
