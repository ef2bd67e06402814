"""What a study changes about the probe, one thing at a time, to score everything once more against the same results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from muster.errors import ConfigError
from muster.limits import MOST_IMAGES, MOST_STEPS, require_whole
from muster.metrics import parse_metric
from muster.metrics.metric_spec import WRAPPERS_OF_HARDNESS

PROBES = ("pixels_per_image", "train_images", "image_size")
"""Settings with which members see other pixels."""

DIMENSIONS, HARD_FRACTION, HARD_BUCKET = "dimensions", "hard_fraction", "hard_bucket"

HARD_MODEL, HARD_EASY = "hard_model", "hard_easy"

ON_HARD_SUBSETS = (HARD_FRACTION, HARD_BUCKET, HARD_MODEL, HARD_EASY)
"""Settings that change what is hard, or what is looked at with it."""

_OF_IMAGES = {"labels", "annotations", "reference", "features", "image_features", "prediction", "predictions", "eeps"}
_MOST_BUCKETS, _SMALLEST_IMAGE = 20, 8


@dataclass(frozen=True)
class SweepSettings:
    """Values of the probe's settings that are tried beside the study's own; nothing else is fine-tuned for them.

    Attributes:
        pixels_per_image: Probe pixels of each image.
        train_images: How many of the cell's training images the metrics see; more than there are is passed over.
        image_size: Longer side of the images.
        dimensions: Principal components that features are reduced to, for the metrics that look at features.
        hard_fraction: Share of the images or pixels that counts as hard, for all metrics that can look at hard subsets.
        hard_buckets: Number of equal parts, from hard to easy, each of which is looked at alone; 0 for none.
        hard_model: Members or architectures, each of which decides by itself what is hard (H22 A.4).
        hard_easy: Shares of the samples that are not hard which are added to those that are, at random, and scores
            averaged over ten draws (H22 A.5); 0 for none of them.
        metrics: Which of the study's metrics; all of them unless some are named.
    """

    pixels_per_image: tuple[int, ...] = ()
    train_images: tuple[int, ...] = ()
    image_size: tuple[int, ...] = ()
    dimensions: tuple[int, ...] = ()
    hard_fraction: tuple[float, ...] = ()
    hard_buckets: int = 0
    hard_model: tuple[str, ...] = ()
    hard_easy: tuple[float, ...] = ()
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a value is out of its range, or comes twice.
        """
        limits = {"pixels_per_image": (1, MOST_STEPS), "train_images": (2, MOST_IMAGES),
                  "image_size": (_SMALLEST_IMAGE, MOST_STEPS), "dimensions": (1, MOST_STEPS)}  # fmt: skip
        for name, (low, high) in limits.items():
            for value in getattr(self, name):
                require_whole(f"sweeps.{name}", value, low, high)
        for share in self.hard_fraction:
            if not 0 < share < 1:
                raise ConfigError(f"sweeps.hard_fraction: expected more than 0 and less than 1, but got {share}.")
        for share in self.hard_easy:
            if not 0 <= share < 1:
                raise ConfigError(f"sweeps.hard_easy: expected at least 0 and less than 1, but got {share}.")
        require_whole("sweeps.hard_buckets", self.hard_buckets, 0, _MOST_BUCKETS)
        for field in fields(self):
            values = getattr(self, field.name)
            if isinstance(values, tuple) and len(set(values)) < len(values):
                raise ConfigError(f"sweeps.{field.name}: expected each once, but got {', '.join(map(str, values))}.")

    def values(self, setting: str) -> tuple[float, ...]:
        """Those of one setting, as tables have them."""
        if setting == HARD_BUCKET:
            return tuple(float(place + 1) for place in range(self.hard_buckets))
        if setting == HARD_MODEL:
            return tuple(float(place + 1) for place in range(len(self.hard_model)))
        return tuple(map(float, getattr(self, setting)))

    def name_of(self, setting: str, value: float) -> str:
        """What a value stands for, where it is the place of a name; otherwise empty."""
        return self.hard_model[int(value) - 1] if setting == HARD_MODEL else ""

    @property
    def settings(self) -> tuple[str, ...]:
        """Those that have values."""
        return tuple(name for name in (*PROBES, DIMENSIONS, *ON_HARD_SUBSETS) if self.values(name))

    def names(self, setting: str, value: float, metrics: Sequence[str]) -> dict[str, str]:
        """The metrics that a setting changes.

        Args:
            setting: Which setting.
            value: Which value.
            metrics: Those of the study.

        Returns:
            By the name by which it is computed, how tables call the metric: the same for all values.
        """
        chosen = self.metrics or metrics
        if setting in PROBES:
            return {metric: metric for metric in chosen if _OF_IMAGES & set(parse_metric(metric).needs)}
        if setting == DIMENSIONS:
            return {name: metric for metric in chosen if _can_be(name := f"{metric}+pca{value:.0f}")}
        part = f"_{value:.0f}of{self.hard_buckets}" if setting == HARD_BUCKET else ""
        plain = [metric for metric in chosen if parse_metric(metric).hard is None]
        hard = [f"{metric}+{wrapper}" for metric in plain for wrapper in WRAPPERS_OF_HARDNESS.values()]
        return {f"{name}{part}": name for name in hard if _can_be(name)}

    def require_metrics(self, metrics: Sequence[str]) -> None:
        """Refuse settings that change none of a study's metrics.

        Args:
            metrics: Those of the study.

        Raises:
            ConfigError: If it lacks one that is named, or a setting changes none.
        """
        known = ", ".join(metrics)
        if other := [metric for metric in self.metrics if metric not in metrics]:
            raise ConfigError(f"sweeps.metrics: expected some of metrics ({known}), but got {', '.join(other)}.")
        for setting in self.settings:
            if not self.names(setting, self.values(setting)[0], metrics):
                raise ConfigError(f"sweeps: {setting} changes none of the metrics ({known}). Leave it out.")


def _can_be(name: str) -> bool:
    try:
        parse_metric(name)
    except ValueError:
        return False
    return True
