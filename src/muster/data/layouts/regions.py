"""Image classification from segmentation: each labelled region of an image is cut out, and its class is the truth.

::

    # dataset.yaml
    reader: regions
    of: ../msrc21               a segmentation dataset of any layout; or worlds/NAME
    classes: [cow, sheep, dog]  (by default all that occur)
    min_pixels: 400             pixels of the smallest region
    min_side: 16                rows and columns of the smallest region
    min_share: 0                how much of the box around it a region must fill
    margin: 0.1                 what is added at each side, as a share of the longer side
    most_per_image: 5           regions of one class in one image, the largest (by default all)
    most_per_class: 200         regions of one class in a split, by a hash of their names (by default all)

Both splits are those of the segmentation dataset, so that no image shows in both.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from muster.data.content import prefix_of_text
from muster.data.dataset_yaml import REGION_KEYS, Description, Heading, read_description
from muster.data.layout import LAYOUTS, Layout
from muster.data.other_dataset import open_other
from muster.data.regions import Box, crop_around, regions_of
from muster.data.spec import Dataset, DatasetSpec, Sample, Split
from muster.data.splits import compare_counts, unknown_image
from muster.data.yaml_checks import is_whole, wrong
from muster.errors import DatasetError, unknown_name
from muster.tasks.task import task_of

NAME = "regions"


@dataclass(frozen=True)
class RegionSettings:
    """Which regions are taken, and how much is shown around each; the keys of ``dataset.yaml``.

    Attributes:
        min_pixels: Pixels of the smallest.
        min_side: Rows and columns of the smallest.
        min_share: Smallest share of the box around a region that is the region.
        margin: Share of the longer side of a region that is added at each side of it.
        most_per_image: Regions of one class in one image, the largest; ``None`` for all.
        most_per_class: Regions of one class in a split, chosen by a hash of their names; ``None`` for all.
    """

    min_pixels: int = 400
    min_side: int = 16
    min_share: float = 0.0
    margin: float = 0.1
    most_per_image: int | None = None
    most_per_class: int | None = None


_SHARES = {"min_share": 1.0, "margin": 10.0}
"""Settings that are shares, and the largest that makes sense."""


class Crop(NamedTuple):
    """One sample.

    Attributes:
        image: Identifier of the image that it is a part of.
        box: Which part.
        label: Index of its class.
    """

    image: str
    box: Box
    label: int


class Regions(Layout):
    """Crops around the labelled regions of another dataset."""

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002 (nothing but the key reader says so)
        """Never: ``dataset.yaml`` has to say it."""
        return False

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; every mask of the other dataset is read."""
        whole = _segmented(heading)
        spec, settings = whole.spec, _settings(heading)
        said = {key: text for key in ("domain", "source", "licence", "citation") if (text := getattr(spec, key))}
        known = {**heading.unsaid, "name": f"{spec.name}_regions", **said, "classes": list(spec.classes)}
        description = read_description(heading, known, keys=REGION_KEYS, whole_images=True)
        crops = {split.name: _crops(split, _labels(description, spec), settings) for split in (whole.train, whole.test)}
        classes = _shown(description, spec, crops)
        kept = replace(description.spec, classes=classes, channels=spec.channels, task="classification")
        places = [classes.index(name) if name in classes else -1 for name in spec.classes]
        train, test = (
            _split(
                kept, split, {name: crop for name, crop in crops[split.name].items() if places[crop.label] >= 0}, places
            )
            for split in (whole.train, whole.test)
        )
        compare_counts(description, {"train": len(train), "test": len(test)})
        return Dataset(kept, train, test, reference)


def _segmented(heading: Heading) -> Dataset:
    """The dataset whose regions are meant."""
    found = open_other(heading, NAME)
    if not task_of(found.spec).has_class_maps:
        came = heading.options["of"]
        raise wrong(heading.path, "of", f"a segmentation dataset, not one for {found.spec.task}", came)
    return found


def _settings(heading: Heading) -> RegionSettings:
    asked: dict[str, Any] = {key: heading.options[key] for key in REGION_KEYS if key in heading.options and key != "of"}
    for key, value in asked.items():
        if key in _SHARES:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _SHARES[key]:
                raise wrong(heading.path, key, f"a share from 0 to {_SHARES[key]:g}", value)
        elif not is_whole(value) or value < 1:
            raise wrong(heading.path, key, "a whole number from 1", value)
    shares = {key: float(value) for key, value in asked.items() if key in _SHARES}
    return RegionSettings(**asked | shares)


def _labels(description: Description, spec: DatasetSpec) -> frozenset[int]:
    """Indices of the classes that are wanted."""
    for name in description.spec.classes:
        if name not in spec.classes:
            raise DatasetError(f"{description.path}: key 'classes': {unknown_name('class', name, spec.classes)}")
    wanted = set(description.spec.classes) - set(description.ignored_classes)
    return frozenset(index for index, name in enumerate(spec.classes) if name in wanted)


def _crops(split: Split, labels: Collection[int], settings: RegionSettings) -> dict[str, Crop]:
    """All crops of a split by name, image by image."""
    names = split.spec.classes
    found: dict[str, Crop] = {}
    for index, identifier in enumerate(split.identifiers):
        counted: Counter[int] = Counter()
        for crop in _crops_of_image(identifier, split.mask(index), labels, settings):
            counted[crop.label] += 1
            found[f"{identifier}/{names[crop.label]}-{counted[crop.label]}"] = crop
    return found if settings.most_per_class is None else _limited(found, settings.most_per_class)


def _crops_of_image(identifier: str, mask: Tensor, labels: Collection[int], settings: RegionSettings) -> Iterator[Crop]:
    """The crops of one image, those of larger regions first."""
    size = (mask.shape[0], mask.shape[1])
    boxes: set[Box] = set()
    counted: Counter[int] = Counter()
    for region in sorted(regions_of(mask, labels, settings.min_pixels), key=lambda each: -each.pixels):
        rows, columns = region.box.size
        if min(rows, columns) < settings.min_side or region.pixels < settings.min_share * rows * columns:
            continue
        box = crop_around(region.box, size, settings.margin)
        if box in boxes or counted[region.label] == settings.most_per_image:
            continue  # of two regions that one crop shows, e.g. a leaf and what lies around it, the larger is meant
        boxes.add(box)
        counted[region.label] += 1
        yield Crop(identifier, box, region.label)


def _limited(crops: Mapping[str, Crop], most: int) -> dict[str, Crop]:
    """So many of each class, chosen by a hash of their names."""
    # As the seeded test split is: nearly all stay when images are added.
    order = sorted(crops, key=lambda name: hashlib.sha256(name.encode()).digest())
    counted: Counter[int] = Counter()
    kept = set()
    for name in order:
        counted[crops[name].label] += 1
        if counted[crops[name].label] <= most:
            kept.add(name)
    return {name: crop for name, crop in crops.items() if name in kept}


def _shown(description: Description, spec: DatasetSpec, crops: Mapping[str, Mapping[str, Crop]]) -> tuple[str, ...]:
    """The wanted classes that can be learned and tested."""
    there = {split: {spec.classes[crop.label] for crop in each.values()} for split, each in crops.items()}
    wanted = [name for name in description.spec.classes if name not in description.ignored_classes]
    shown = tuple(name for name in wanted if all(name in names for names in there.values()))
    told = _told(there, [name for name in wanted if name not in shown])
    if len(shown) < 2:
        raise DatasetError(
            f"{description.path}: expected regions of at least two classes in both splits, but there are such of "
            f"{', '.join(shown) or 'none'}. {told} Make min_pixels, min_side or min_share smaller."
        )
    if told:
        warnings.warn(f"{description.path}: {told} They are left out.", stacklevel=4)
    return shown


def _told(there: Mapping[str, Collection[str]], missing: Iterable[str]) -> str:
    """What is said of classes that are left out."""
    sentences = []
    for name in missing:
        without = " and ".join(split for split, names in there.items() if name not in names)
        sentences.append(f"{name!r} has no region that is large enough in {without}.")
    return " ".join(sentences)


def _split(spec: DatasetSpec, whole: Split, crops: Mapping[str, Crop], places: list[int]) -> Split:
    reader = _Reader(spec, whole, {name: crop._replace(label=places[crop.label]) for name, crop in crops.items()})
    return Split(spec, whole.name, tuple(crops), reader, reader.mask, None if whole.content is None else reader.content)


@dataclass(eq=False)
class _Reader:
    """Cuts crops out of images.

    Attributes:
        spec: What the crops are.
        whole: The images.
        crops: By name.
    """

    spec: DatasetSpec
    whole: Split
    crops: Mapping[str, Crop]
    _last: tuple[str, Tensor] | None = field(default=None, repr=False)

    def __call__(self, identifier: str) -> Sample:
        """Read the image of a crop, unless it was the last that was read, and cut it."""
        crop = self._crop(identifier)
        last = self._last  # another thread may replace it
        if last is None or last[0] != crop.image:
            self._last = last = crop.image, self.whole.read(crop.image).image
        box = crop.box
        part = last[1][:, box.top : box.bottom, box.left : box.right].clone()
        return Sample(identifier, part, torch.tensor([[crop.label]]))

    def __getstate__(self) -> dict[str, Any]:
        """Without the image that was read last."""
        return {**self.__dict__, "_last": None}

    def mask(self, identifier: str) -> Tensor:
        """The class of a crop."""
        return torch.tensor([[self._crop(identifier).label]])

    def content(self, identifier: str) -> str:
        """The content prefix of a crop: two are the same if they are the same part of the same file."""
        crop = self._crop(identifier)
        assert self.whole.content is not None  # or nobody asks
        return prefix_of_text(f"{self.whole.content(crop.image)}/{'-'.join(map(str, crop.box))}")

    def _crop(self, identifier: str) -> Crop:
        if identifier not in self.crops:
            raise DatasetError(f"Dataset {self.spec.name!r}: {unknown_image(identifier, self.crops)}")
        return self.crops[identifier]


LAYOUTS.add(NAME, Regions())
