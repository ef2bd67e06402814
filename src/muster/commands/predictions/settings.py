"""What ``muster predict`` is asked to write, and how large images are predicted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

from muster.errors import ConfigError
from muster.limits import MOST_PIXELS, require_real, require_whole


@dataclass(frozen=True)
class PredictionSettings:
    """What is written of each image, and how large images are predicted.

    Attributes:
        tile: Longer side, in pixels of the stored image, of the tiles in which an image is predicted, overlapping and
            blended; 0 for every image as a whole. auto takes the size of the training images for images of more than
            twice their longer side, so that things are seen at the scale at which they were learned.
        overlays: Whether to write the image tinted with its mask, with a legend.
        probabilities: Whether to write the probability of every class: float16 [classes, height, width], NumPy's npy.
        confidence: Whether to write the probability of the predicted class, as a PNG of the values 0 to 255.
        uncertainty: Whether to write the entropy of the probabilities over that of a guess, likewise: 0 is sure.
        nms: Of objects, the largest overlap (IoU) that two boxes of a class may have; the less sure one is left out.
            null leaves all.
        least_score: Of objects, the smallest score that is drawn.
    """

    tile: int | Literal["auto"] = "auto"
    overlays: bool = True
    probabilities: bool = False
    confidence: bool = False
    uncertainty: bool = False
    nms: float | None = None
    least_score: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If the tile is no number of pixels.
        """
        if self.tile not in ("auto", 0):
            require_whole("tile", self.tile, 32, MOST_PIXELS)
        if self.nms is not None:
            require_real("nms", self.nms, 0.0, 1.0)
        require_real("least_score", self.least_score, 0.0, 1.0)

    def require_unused(self, names: Iterable[str], why: str) -> None:
        """Refuse options without an effect.

        Args:
            names: Of attributes.
            why: They have none, in a sentence.

        Raises:
            ConfigError: If one of them is not as it is by itself.
        """
        usual = PredictionSettings()
        if idle := [name for name in names if getattr(self, name) != getattr(usual, name)]:
            raise ConfigError(f"{', '.join(f'--{name}' for name in idle)}: {why} Leave it out.")

    @staticmethod
    def all_but(*used: str) -> list[str]:
        """The names of all other attributes."""
        return [each.name for each in fields(PredictionSettings) if each.name not in used]

    @property
    def tile_side(self) -> int | None:
        """The longer side of tiles, if it was given."""
        return self.tile if isinstance(self.tile, int) else None
