"""Datasets in folders: images and index masks with the same stem, described by a ``dataset.yaml``.

Two layouts are read::

    mydata/                            mydata/
      dataset.yaml                       dataset.yaml
      train/images/a.jpg                 images/a.jpg
      train/masks/a.png                  masks/a.png
      test/images/b.jpg                  splits.yaml      (optional: train: [...], test: [...])
      test/masks/b.png

Left: ``val`` may stand in place of ``test``; where both exist, ``test`` is the test split and ``val`` is not used.
Right: without a ``splits.yaml`` a fifth of the images, chosen by a hash of their names, is the test split;
:func:`muster.data.split_record` says which, in the form of a ``splits.yaml``. Nothing is ever written into the folder.

With ``mask_suffix: _mask`` in the description the mask of ``a.jpg`` is ``a_mask.png``, in ``masks/`` if there is such a
folder, and otherwise beside the image in ``images/``.

Opening looks at names only; pixels are checked when an image is read, or all at once by
:func:`muster.data.statistics.check_split`.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from muster.data.dataset_yaml import FILE_KEYS, IMAGE_KEYS, MASK_KEYS, Description, Heading, read_description
from muster.data.file_dataset import dataset_of_files
from muster.data.layout import DEFAULT, LAYOUTS, Layout
from muster.data.pairing import MASKS, Files, TruthFiles, pair_up
from muster.data.sample_reader import FileMasks, MaskReader
from muster.data.spec import Dataset
from muster.data.splits import SPLITS_FILE, compare_counts, divide, read_splits
from muster.data.yaml_checks import require_text
from muster.errors import DatasetError

KEYS = (*MASK_KEYS, *IMAGE_KEYS, *FILE_KEYS, "mask_suffix")
"""Keys of the description that have an effect here."""


class ImagesAndMasks(Layout):
    """What every folder is taken for that no other layout recognises."""

    def recognises(self, folder: Path) -> bool:
        """By a folder of images beside one of masks, for the whole or for the training split."""
        return any((root / "images").is_dir() and (root / "masks").is_dir() for root in (folder, folder / "train"))

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are stems, in the order of their code points."""
        return open_described(read_description(heading, keys=KEYS), reference)


LAYOUTS.add(DEFAULT, ImagesAndMasks())


def open_described(
    description: Description, reference: str, masks: MaskReader = FileMasks, truths: TruthFiles = MASKS
) -> Dataset:
    """Open a dataset folder (see the module's text for how it may look).

    Args:
        description: Of the folder.
        reference: What the dataset is to be called in records.
        masks: How its masks are read.
        truths: What lies beside the images.

    Returns:
        The dataset; images are read when asked for.

    Raises:
        DatasetError: If the layout is wrong, a split is empty, or images and masks do not pair up.

    Warns:
        UserWarning: If ``counts`` in the description disagrees with what is found, or ``val`` is left unused.
    """
    train, test, test_name = _find_splits(description, truths)
    compare_counts(description, {"train": len(train), test_name: len(test)})
    return dataset_of_files(description, train, test, reference, masks)


def _find_splits(description: Description, truths: TruthFiles) -> tuple[Files, Files, str]:
    """Files of the training and of the test split, and what the folder calls the latter."""
    root, dataset = description.root, description.spec.name
    suffix = require_text(description.path, "mask_suffix", description.options.get("mask_suffix", ""))
    divided = (root / "train").is_dir()
    whole = (root / "images").is_dir()
    named = os.path.lexists(root / SPLITS_FILE)  # a link to nothing is a fault, and no reason to divide otherwise
    if divided and (whole or named):
        other = "images/" if whole else SPLITS_FILE
        raise DatasetError(f"{root} has both train/ and {other}, so its splits are not clear. Move one of them away.")
    if whole:
        files = pair_up(root, dataset, suffix, truths)
        names = read_splits(root / SPLITS_FILE, files) if named else divide(root, files, description.spec.sequences)
        train, test = ({name: files[name] for name in part} for part in names)
        return train, test, "test"
    test_name = next((name for name in ("test", "val") if (root / name).is_dir()), None)
    if not divided or test_name is None:
        raise DatasetError(
            f"Expected train/ and test/ (or val/) in {root} (dataset {dataset!r}), each with images/ and "
            f"{truths.folder}/, but {'train/' if not divided else 'test/'} is missing. Without splits, put images/ and "
            f"{truths.folder}/ directly into the folder: a fifth is then held out for testing."
        )
    if test_name == "test" and (root / "val").is_dir():
        warnings.warn(f"{root} has test/ and val/: test/ is the test split, val/ is not used.", stacklevel=3)
    found = [pair_up(root / name, dataset, suffix, truths) for name in ("train", test_name)]
    return found[0], found[1], test_name
