"""Test-time augmentation: the same image, mirrored and at several sizes, and the mean of what a model says of them.

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` rows and columns of an image, ``y`` and ``x`` of a map.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from muster.data.preprocessing import SIDE_MULTIPLE
from muster.errors import ConfigError
from muster.limits import require_real

_LARGEST_SCALE = 8.0
"""An image costs the square of it, in time and in memory."""

_MOST_SCALES = 10


@dataclass(frozen=True)
class Variant:
    """One of the ways in which an image is shown.

    Attributes:
        scale: Factor of its sides; each is then rounded to the nearest multiple of 32.
        mirrored: Whether left and right are exchanged.
    """

    scale: float = 1.0
    mirrored: bool = False

    def shape_of(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that an image is shown with.

        Args:
            height: Its rows, prepared.
            width: Its columns.
        """
        if self.scale == 1:
            return height, width
        rows, columns = (max(1, round(side * self.scale / SIDE_MULTIPLE)) * SIDE_MULTIPLE for side in (height, width))
        return rows, columns

    def of(self, images: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels _ _"]:
        """Show prepared images so.

        Args:
            images: Prepared, sides multiples of 32.

        Returns:
            Resized (bilinear, with antialiasing) and mirrored.
        """
        shape = self.shape_of(images.shape[-2], images.shape[-1])
        shown = images
        if shape != tuple(images.shape[-2:]):
            shown = interpolate(images, size=shape, mode="bilinear", align_corners=False, antialias=True)
        return shown.flip(-1) if self.mirrored else shown

    def undo(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Bring what a model puts out back to where it belongs; its size stays that of the model.

        Args:
            maps: Of the images that :meth:`of` gave.
        """
        return maps.flip(-1) if self.mirrored else maps


PLAIN = Variant()


@dataclass(frozen=True)
class TTASettings:
    """In which ways an image is predicted; the mean of the probabilities counts.

    Attributes:
        flip: Whether each image is also shown mirrored.
        scales: Factors of the image's size, e.g. [0.75, 1, 1.25]. Each costs a pass.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If there is no scale, one is out of range, or one occurs twice.
        """
        if not 1 <= len(self.scales) <= _MOST_SCALES or len(set(self.scales)) < len(self.scales):
            came = ", ".join(f"{scale:g}" for scale in self.scales) or "none"
            raise ConfigError(f"tta.scales: expected from 1 to {_MOST_SCALES} different factors, but got {came}.")
        for scale in self.scales:
            require_real("tta.scales", scale, 0.0, _LARGEST_SCALE, above=True)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All ways; the first is that of the first scale, not mirrored."""
        return tuple(
            Variant(scale, mirrored) for scale in self.scales for mirrored in ((False, True) if self.flip else (False,))
        )

    @property
    def in_words(self) -> str:
        """For a report; empty if an image is just predicted as it is."""
        parts = ["mirrored as well"] if self.flip else []
        if self.scales != (1.0,):
            parts.append(f"at {', '.join(f'{scale:g}' for scale in self.scales)} times its size")
        return ", ".join(parts)
