"""Images that are files, and objects in them: what layouts with boxes, and with points, have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from muster.data.boxes import objects_truth
from muster.data.dataset_yaml import Description
from muster.data.orientation import UPRIGHT
from muster.data.sample_reader import FileImages, ImageSource
from muster.data.spec import Dataset, DatasetSpec, Sample, Split
from muster.data.splits import compare_counts, unknown_image
from muster.errors import DatasetError

_TURNED = 4
"""EXIF orientations beyond this exchange rows and columns."""


@dataclass(frozen=True)
class Annotated:
    """What is known of one image.

    Attributes:
        objects: Rows of a truth, see :mod:`muster.data.boxes`.
        size: Rows and columns that its file of annotations says; ``None`` if it says nothing.
        source: That file, for messages.
    """

    objects: tuple[tuple[float, ...], ...]
    size: tuple[int, int] | None
    source: str


@dataclass(frozen=True, eq=False)
class ObjectImages:
    """Reads the images of one split with the objects in them.

    Attributes:
        spec: The dataset.
        images: Its images.
        known: What is known of each.
        tolerances: Of the points, if objects have points.
    """

    spec: DatasetSpec
    images: ImageSource
    known: Mapping[str, Annotated]
    tolerances: tuple[float, ...] = ()

    def __call__(self, identifier: str) -> Sample:
        """Read one image, upright, with its objects.

        Raises:
            DatasetError: If there is no such image, it cannot be read, or its annotations are of another size.
        """
        truth = self.mask(identifier)
        return Sample(identifier, self.images.read(identifier, False), truth)

    def mask(self, identifier: str) -> Tensor:
        """The truth alone; of the image only the header is read."""
        if identifier not in self.known:
            raise DatasetError(f"Dataset {self.spec.name!r}: {unknown_image(identifier, self.known)}")
        found, header = self.known[identifier], self.images.header(identifier)
        size = header.size[::-1] if (header.tag or UPRIGHT) > _TURNED else header.size
        if found.size is not None and found.size != size:
            raise DatasetError(
                f"{found.source}: expected {self.images.called(identifier)} with {found.size[1]} x {found.size[0]} "
                f"pixels (width x height), but it is {size[1]} x {size[0]}."
            )
        return objects_truth(size, found.objects, self.tolerances)


def dataset_of_objects(
    description: Description,
    splits: Mapping[str, Mapping[str, tuple[Path, Annotated]]],
    reference: str,
    tolerances: Sequence[float] = (),
    *,
    task: str,
) -> Dataset:
    """A dataset of image files with objects.

    Args:
        description: What was read of it.
        splits: For ``train`` and ``test``, file and annotations of each identifier.
        reference: What it is to be called in records.
        tolerances: Of the points, if objects have points.
        task: What it is for.

    Raises:
        DatasetError: If a split is empty, or both have an image.

    Warns:
        UserWarning: If its ``dataset.yaml`` says other numbers of images.
    """
    spec = replace(description.spec, task=task)
    files = ({file for file, _ in splits[name].values()} for name in ("train", "test"))
    if shared := sorted(set.intersection(*files)):
        raise DatasetError(f"Dataset {spec.name!r}: {len(shared)} image(s) are in both splits: {shared[0]}.")
    if empty := [name for name in ("train", "test") if not splits[name]]:
        raise DatasetError(f"Dataset {spec.name!r} ({description.root}) has no image in split {empty[0]!r}.")
    compare_counts(description, {name: len(each) for name, each in splits.items()})
    train, test = (_split(spec, name, splits[name], description, tuple(tolerances)) for name in ("train", "test"))
    return Dataset(spec, train, test, reference)


def _split(
    spec: DatasetSpec,
    name: str,
    files: Mapping[str, tuple[Path, Annotated]],
    description: Description,
    tolerances: tuple[float, ...],
) -> Split:
    images = FileImages(spec, {each: file for each, (file, _) in files.items()}, description.bands)
    reader = ObjectImages(spec, images, {each: known for each, (_, known) in files.items()}, tolerances)
    return Split(spec, name, tuple(files), reader, reader.mask, images.content)
