"""How a model wants its images: size, normalisation and order of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from muster.data.statistics import ChannelStatistics
from muster.errors import ConfigError
from muster.limits import MOST_PIXELS, require_whole

ChannelOrder = Literal["rgb", "bgr"]
Interpolation = Literal["bilinear", "bicubic", "nearest"]


@dataclass(frozen=True)
class ImageSize:
    """The size that an image is brought to; exactly one of the three is given.

    Attributes:
        longer: Length of the longer side in pixels; the shorter one keeps the aspect.
        shorter: Length of the shorter side in pixels; the longer one keeps the aspect.
        exact: Rows and columns, whatever the aspect of the image was.
    """

    longer: int | None = None
    shorter: int | None = None
    exact: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse what says nothing, or two things.

        Raises:
            ConfigError: If not exactly one is given, or one is out of its range.
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ConfigError(
                f"image_size: expected one of longer, shorter and exact, but got {', '.join(given) or 'none'}."
            )
        for side in self.exact or (self.longer or self.shorter,):
            require_whole("image_size", side, 1, MOST_PIXELS)


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a stored image before a model sees it.

    Attributes:
        statistics: What its channels are normalised with, for pixels scaled to 0..1, in the order red, green, blue. A
            model that wants pixels from 0 to 255 has means of 0 and deviations of 1/255.
        size: What it is resized to; ``None`` for the size at which the target is shown.
        channel_order: The order in which the model wants the channels.
        interpolation: How it is resized; smaller images are made with antialiasing.
    """

    statistics: ChannelStatistics
    size: ImageSize | None = None
    channel_order: ChannelOrder = "rgb"
    interpolation: Interpolation = "bilinear"
