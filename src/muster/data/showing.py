"""How the images, or texts, of a dataset are shown to models without a preprocessing of their own."""

from __future__ import annotations

from muster.data.preprocessing import ImageSize, Preprocessing, SizeSetting
from muster.data.spec import DatasetSpec, Split
from muster.data.statistics import ChannelStatistics, channel_statistics
from muster.errors import ConfigError


def usual_preprocessing(split: Split, size: SizeSetting, statistics: ChannelStatistics | None = None) -> Preprocessing:
    """What is done to images of a split.

    Args:
        split: Images are read, to take statistics of their channels; texts are not.
        size: What users write of the size, see :meth:`muster.data.ImageSize.of`; of texts the number of characters.
        statistics: What channels are normalised with; by default those of the split.

    Returns:
        With a size.

    Raises:
        ConfigError: If the size is none of such images.
        DatasetError: If an image cannot be read.
    """
    found = size_for(split.spec, size)  # first: statistics take a look at every image
    return Preprocessing(statistics or channel_statistics(split), found)


def size_for(spec: DatasetSpec, size: SizeSetting) -> ImageSize:
    """The size that a setting means for what a dataset holds.

    Args:
        spec: Of the dataset.
        size: What users write; a plain number is the longer side of an image, and the characters of a text.

    Raises:
        ConfigError: If it is none, a size of texts for images, or one of images for texts.
    """
    found = ImageSize.of(size)
    if spec.has_texts and found.longer is not None:
        found = ImageSize(characters=found.longer)
    if spec.has_texts != (found.characters is not None):
        wanted = "a number of characters (512)" if spec.has_texts else "a size in pixels"
        raise ConfigError(f"image_size: expected {wanted} for {spec.name!r}, which holds {spec.holds}, but got {size}.")
    return found
