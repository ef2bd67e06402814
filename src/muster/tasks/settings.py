"""How a model is trained: the few knobs that source training and fine-tuning share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from muster.data import SIDE_MULTIPLE, fit_size
from muster.errors import ConfigError

Schedule = Literal["step", "poly"]


@dataclass(frozen=True)
class TrainingSettings:
    """Stochastic gradient descent on random crops (A22 4.1 and B, M21 4.1 and A.2).

    Attributes:
        steps: Number of optimizer steps.
        batch_size: Images per step, over all devices together.
        learning_rate: Initial rate.
        schedule: ``step`` divides the rate by 10 after 2/3 of the steps, ``poly`` lets it fall to 0 as (1 - t)^0.9.
        momentum: Of SGD.
        weight_decay: Of SGD.
        crop_size: Side of the square training crops, in pixels, a multiple of 32; null takes the longer side of the
            images, rounded to one.
        scale_range: Least and greatest factor of the random rescaling.
        checkpoint_every: Steps between two checkpoints, from which an interrupted run goes on.
        seed: Of weights, order and augmentation.
    """

    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 0.05
    schedule: Schedule = "step"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    crop_size: int | None = None
    scale_range: tuple[float, float] = (0.7, 1.5)
    checkpoint_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is built.

        Raises:
            ConfigError: If a value is out of its range.
        """
        self._require_positive("steps", "batch_size", "learning_rate", "checkpoint_every")
        if self.crop_size is not None and (self.crop_size <= 0 or self.crop_size % SIDE_MULTIPLE):
            raise ConfigError(f"crop_size: expected a positive multiple of {SIDE_MULTIPLE}, but got {self.crop_size}.")
        low, high = self.scale_range
        if not 0 < low <= high:
            raise ConfigError(f"scale_range: expected 0 < least <= greatest, but got [{low}, {high}].")

    def _require_positive(self, *names: str) -> None:
        for name in names:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: expected a positive number, but got {getattr(self, name)}.")

    def crop_for(self, image_size: int) -> int:
        """Side of the training crops.

        Args:
            image_size: Longer side of the images, in pixels.

        Returns:
            In pixels.
        """
        return self.crop_size or fit_size(image_size, image_size, image_size)[0]

    def rate_factor(self, step: int) -> float:
        """The learning rate at a step, as a share of the initial rate."""
        if self.schedule == "step":
            return 1.0 if 3 * step < 2 * self.steps else 0.1
        return float(max(0.0, 1.0 - step / self.steps) ** 0.9)


@dataclass(frozen=True)
class SourceSettings(TrainingSettings):
    """How a source model is trained: TrainingSettings, and what belongs to its dataset.

    Attributes:
        image_size: Longer side to which images are resized, in pixels.
        train_images: Use a seeded choice of that many training images; null uses all.
        validation_fraction: Share of the training images held out to draw the validation curve; 0 for none.
        validate_every: Steps between two points of the validation curve.
        sample_images: Training images whose mean embedding is kept with the member, for what is hard (HASTE), drawn
            with weights that balance the classes; null takes all up to 1000, and of more a tenth.
    """

    image_size: int = 128
    train_images: int | None = None
    validation_fraction: float = 0.0
    validate_every: int = 100
    sample_images: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a value is out of its range.
        """
        super().__post_init__()
        self._require_positive("image_size", "validate_every")
        if self.sample_images is not None:
            self._require_positive("sample_images")
        if not 0 <= self.validation_fraction < 1:
            raise ConfigError(f"validation_fraction: expected 0 <= x < 1, but got {self.validation_fraction}.")
