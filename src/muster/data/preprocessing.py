"""How a model wants its images: size, normalisation and order of channels."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from muster.data.statistics import ChannelStatistics
from muster.errors import ConfigError
from muster.limits import MOST_PIXELS, require_whole

ChannelOrder = Literal["rgb", "bgr"]
Interpolation = Literal["bilinear", "bicubic", "nearest"]

SIDE_MULTIPLE = 32
"""Sides of what muster's own networks see are padded to multiples of this: five halvings must come out even."""


SizeSetting: TypeAlias = int | tuple[int, int] | str
"""A size as users write it, see :meth:`ImageSize.of`."""

_SPELLED = re.compile(r"(?:shorter:([1-9]\d{0,8})|([1-9]\d{0,8})x([1-9]\d{0,8}))(?:/([1-9]\d{0,8})x([1-9]\d{0,8}))?")

_CHARACTERS = re.compile(r"characters:([1-9]\d{0,8})")


@dataclass(frozen=True)
class ImageSize:
    """The size that an image is brought to; exactly one of the first three, or the last, is given.

    Attributes:
        longer: Length of the longer side in pixels; the shorter one keeps the aspect.
        shorter: Length of the shorter side in pixels; the longer one keeps the aspect.
        exact: Rows and columns, whatever the aspect of the image was.
        crop: Rows and columns of the middle of the resized image, which is all that is seen of it. Classifiers of whole
            images are used so; the rest of the image is lost.
        characters: Of a text, which is no image: how many of its characters are seen (:mod:`muster.data.texts`).
    """

    longer: int | None = None
    shorter: int | None = None
    exact: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    characters: int | None = None

    def __post_init__(self) -> None:
        """Refuse what says nothing, or two things.

        Raises:
            ConfigError: If not exactly one is given, one is out of its range, or there is less than the crop.
        """
        given = {name: value for name, value in vars(self).items() if value is not None and name != "crop"}
        if len(given) != 1:
            raise ConfigError(
                "image_size: expected one of longer, shorter, exact and characters, but got "
                f"{', '.join(given) or 'none'}."
            )
        for side in (*(self.exact or (self.longer or self.shorter or self.characters,)), *(self.crop or ())):
            require_whole("image_size", side, 1, MOST_PIXELS)
        if self.crop is not None:
            self._require_room(self.crop)

    def _require_room(self, crop: tuple[int, int]) -> None:
        if self.longer is not None or self.characters is not None:
            raise ConfigError(
                "image_size: a crop needs the shorter side or rows x columns; the longer side is no bound."
            )
        least = self.exact or (self.shorter or 1, self.shorter or 1)
        if crop[0] > least[0] or crop[1] > least[1]:
            raise ConfigError(
                f"image_size: expected a crop within the resized image of at least {least[0]} x {least[1]} pixels, "
                f"but got {crop[0]} x {crop[1]}."
            )

    @classmethod
    def of(cls, setting: SizeSetting, option: str = "image_size") -> ImageSize:
        """Read what users write.

        Args:
            setting: A number is the longer side; ``shorter:512`` the shorter one; ``512x1024``, or a pair, rows and
                columns. After a slash comes what is cut out of the middle: ``shorter:256/224x224``.
                ``characters:512`` is what is seen of a text.
            option: What to call it in messages.

        Returns:
            The size.

        Raises:
            ConfigError: If it is none of these, or out of range.
        """
        if isinstance(setting, str) and (told := _CHARACTERS.fullmatch(setting.strip())):
            return cls(characters=int(told[1]))
        if isinstance(setting, str):
            found = _SPELLED.fullmatch(setting.strip())
            if found is None:
                raise ConfigError(
                    f"{option}: expected the longer side (512), the shorter side (shorter:512), or rows x columns "
                    f"(512x1024), but got {setting!r}."
                )
            shorter, rows, columns, *cut = found.groups()
            crop = (int(cut[0]), int(cut[1])) if cut[0] else None
            return cls(shorter=int(shorter), crop=crop) if shorter else cls(exact=(int(rows), int(columns)), crop=crop)
        for side in setting if isinstance(setting, tuple) else (setting,):
            require_whole(option, side, 1, MOST_PIXELS)
        return cls(exact=setting) if isinstance(setting, tuple) else cls(longer=setting)

    @property
    def setting(self) -> int | str:
        """What :meth:`of` reads, as records keep it: a number, or text."""
        if self.characters is not None:
            return f"characters:{self.characters}"
        if self.longer is not None:
            return self.longer
        cut = "" if self.crop is None else f"/{self.crop[0]}x{self.crop[1]}"
        return (f"shorter:{self.shorter}" if self.exact is None else f"{self.exact[0]}x{self.exact[1]}") + cut

    def __str__(self) -> str:
        """In words."""
        if self.characters is not None:
            return f"{self.characters} characters from the beginning"
        cut = "" if self.crop is None else f", of which the middle {self.crop[0]} x {self.crop[1]} are seen"
        if self.exact is not None:
            return f"{self.exact[0]} x {self.exact[1]} pixels (rows x columns){cut}"
        side = "longer" if self.longer is not None else "shorter"
        return f"{self.longer or self.shorter} pixels, {side} side{cut}"

    @property
    def fixed(self) -> tuple[int, int] | None:
        """Rows and columns that every image is shown with, whatever its own; ``None`` if they depend on it."""
        return self.crop or self.exact or (None if self.characters is None else (1, self.characters))

    @property
    def of_a_square(self) -> tuple[int, int]:
        """Rows and columns at which a square image is shown."""
        return self.fit(1, 1)

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Size at which a whole image is shown to a model.

        Args:
            height: Rows of the stored image.
            width: Its columns.

        Returns:
            Rows and columns of :meth:`resized`, or of the crop where one is cut out of that. What a network needs
            beyond that, it pads.

        Raises:
            ConfigError: If an argument is not positive.
        """
        size = self.resized(height, width)
        return self.crop or size

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Size that a whole image is resized to, before anything is cut out of it.

        Args:
            height: Rows of the stored image.
            width: Its columns.

        Returns:
            Rows and columns: the image scaled so that its longer or shorter side is as asked for, each side rounded to
            the nearest positive whole number (upwards from the middle). With a crop the longer side is rounded down, as
            torchvision, timm and transformers do it.

        Raises:
            ConfigError: If an argument is not positive.
        """
        if min(height, width) < 1:
            raise ConfigError(f"Expected positive sizes, but got height {height}, width {width}.")
        if fixed := self.exact or (None if self.characters is None else (1, self.characters)):
            return fixed
        wanted, given = (self.longer, max(height, width)) if self.longer else (self.shorter, min(height, width))
        assert wanted is not None  # exactly one of the three is given
        # In whole numbers, so that no machine rounds differently: floor(side * wanted / given + 1/2).
        half = given if self.crop is None else 0
        rows, columns = (max(1, (2 * side * wanted + half) // (2 * given)) for side in (height, width))
        return rows, columns


def middle(side: int, cut: int) -> int:
    """Where the middle part of a side begins.

    Args:
        side: Pixels of the whole side.
        cut: Pixels of the part; not more.

    Returns:
        Half of what is left over; a half pixel is rounded to the even number, as torchvision and timm do it;
        transformers rounds it down.
    """
    left_over = side - cut
    return left_over // 2 + (left_over % 2) * (left_over // 2 % 2)


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

    @property
    def of_text(self) -> int | None:
        """How many characters of a text are seen; ``None`` for images, which have rows and columns."""
        return None if self.size is None else self.size.characters

    def seen_by(self, own: Preprocessing | None) -> Preprocessing:
        """How a model sees images that are shown in this way.

        Args:
            own: The model's own preprocessing, if it has one.

        Returns:
            Its own, at this size if it has none of its own; this one for a model without.
        """
        if own is None:
            return self
        return own if own.size is not None else replace(own, size=self.size)

    def shape_of(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of an image that was prepared.

        Args:
            height: Rows of the stored image.
            width: Its columns.

        Returns:
            See :meth:`ImageSize.fit`.

        Raises:
            ConfigError: If this preprocessing has no size of its own.
        """
        return self.known_size.fit(height, width)

    @property
    def known_size(self) -> ImageSize:
        """The size, where there has to be one.

        Raises:
            ConfigError: If this preprocessing has none.
        """
        if self.size is None:
            raise ConfigError(
                "Expected a preprocessing with a size, but got one that takes the size at which the target is shown. "
                "Ask the target's own with seen_by first."
            )
        return self.size
