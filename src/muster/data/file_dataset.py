"""Datasets whose images and masks are files, once it is known which belong together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muster.data.channel_mix import MixedImages, parse_mix
from muster.data.dataset_yaml import Description
from muster.data.sample_reader import FileImages, FileMasks, MaskReader, make_split
from muster.data.spec import Dataset, Split
from muster.data.tiles import split_of_tiles
from muster.data.windows import parse_tiling
from muster.data.yaml_checks import wrong

CUT = "cut"
"""What ``larger_masks`` says where masks may have more rows and columns than their images."""


def dataset_of_files(
    description: Description,
    train: Mapping[str, tuple[Path, Path]],
    test: Mapping[str, tuple[Path, Path]],
    reference: str,
    mask_reader: MaskReader = FileMasks,
    image_reader: type[FileImages] = FileImages,
) -> Dataset:
    """A dataset whose images and masks are files.

    Args:
        description: What was read of it.
        train: Image and mask of each identifier.
        test: Likewise.
        reference: What it is to be called in records.
        mask_reader: How masks are read.
        image_reader: How images are read.

    Returns:
        The dataset; of images that are cut into tiles, its images are the tiles.

    Raises:
        DatasetError: If a key of the description that is about files makes no sense.
    """
    options, path = description.options, description.path
    if options.get("larger_masks", CUT) != CUT:
        raise wrong(path, "larger_masks", f"{CUT!r}, or nothing", options["larger_masks"])
    tiling, spec = parse_tiling(path, options.get("tiles")), description.spec

    def split(name: str, files: Mapping[str, tuple[Path, Path]]) -> Split:
        images = _images(description, name, {each: image for each, (image, _) in files.items()}, image_reader)
        masks = mask_reader(spec, {each: mask for each, (_, mask) in files.items()}, description.masks)
        if tiling is None:
            return make_split(description, name, images, masks)
        return split_of_tiles(spec, name, images, masks, tiling, cut_masks="larger_masks" in options)

    learned, tested = split("train", train), split("test", test)
    return Dataset(learned.spec, learned, tested, reference)


def _images(
    description: Description, name: str, files: Mapping[str, Path], image_reader: type[FileImages]
) -> FileImages:
    said = description.splits  # without test, its images are some of those of train
    mix = said.get(name, said.get("train", {})).get("channels")
    if mix is None:
        return image_reader(description.spec, files, description.bands)
    return MixedImages(description.spec, files, parse_mix(description.path, name, mix))
