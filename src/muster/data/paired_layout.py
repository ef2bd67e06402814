"""What layouts have in common whose images and masks are files that patterns find: only their words differ."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from muster.data.dataset_yaml import FILE_KEYS, IMAGE_KEYS, MASK_KEYS, Description, Heading, read_description
from muster.data.file_dataset import dataset_of_files
from muster.data.layout import Layout
from muster.data.pairing import Files
from muster.data.patterns import pair_patterns, read_list, require_parts
from muster.data.sample_reader import FileImages, FileMasks, MaskReader
from muster.data.spec import Dataset
from muster.data.splits import compare_counts, divide_aloud
from muster.data.yaml_checks import require_text
from muster.errors import DatasetError

PARTS = ("images", "masks", "list", "names", "except", "channels")
"""What ``splits`` in a description may say of a split: two patterns; a file that lists some of the images, or their
names with spaces between; a pattern of files that are no images, though that of images finds them; and which stored
channels are red, green and blue."""


@dataclass(frozen=True)
class Plan:
    """What a layout knows of a folder before any image is listed.

    Attributes:
        known: What it says by itself, by the keys of ``dataset.yaml``.
        splits: By ``train`` and ``test``, the patterns ``images`` and ``masks``, maybe with a ``list``; one of the two
            names is missing if the layout has no such split.
        source: File that ``known`` is from, for messages.
        partial: Whether images without a mask are passed over where no list names them.
        image_reader: How images are read.
    """

    known: Mapping[str, Any]
    splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    source: Path | None = None
    partial: bool = False
    image_reader: type[FileImages] = FileImages


class PairedLayout(Layout):
    """A layout that names patterns; ``splits`` in ``dataset.yaml`` may name others."""

    title: str
    """What messages call it."""

    keys: tuple[str, ...] = (*MASK_KEYS, *IMAGE_KEYS, *FILE_KEYS, "splits", "mask_variable")
    """Keys of ``dataset.yaml`` that have an effect."""

    @abstractmethod
    def plan(self, root: Path) -> Plan:
        """What is known of a folder.

        Args:
            root: Folder of the images.

        Returns:
            The plan.

        Raises:
            DatasetError: If a file that it needs is missing or wrong.
        """

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`."""
        plan = self.plan(heading.root)
        description = read_description(heading, heading.unsaid | dict(plan.known), plan.source, self.keys)
        train, test = self._files(plan, description)
        compare_counts(description, {"train": len(train), "test": len(test)})
        return dataset_of_files(description, train, test, reference, self.mask_reader(description), plan.image_reader)

    def mask_reader(self, description: Description) -> MaskReader:
        """How masks are read.

        Args:
            description: Of the dataset.
        """
        variable = description.options.get("mask_variable", "")
        return partial(FileMasks, variable=require_text(description.path, "mask_variable", variable))

    def _files(self, plan: Plan, description: Description) -> tuple[Files, Files]:
        said, asked = description.splits, description.test_is_seeded
        splits = {name: self._parts(plan, description, name, said) for name in {*plan.splits, *said}}
        root, dataset = description.root, description.spec.name
        if asked or "test" not in splits:
            if "train" not in splits:
                raise DatasetError(
                    f"{description.path}: key 'splits': expected train and test, each with images and masks, since "
                    f"{self.title} says nothing of them."
                )
            parts = {key: part for key, part in splits["train"].items() if key not in {"list", "names"}}
            files = pair_patterns(root, parts, dataset, partial=plan.partial)
            names = divide_aloud(description, self.title, files)
            return {name: files[name] for name in names[0]}, {name: files[name] for name in names[1]}
        train, test = (self._split(plan, description, splits[name]) for name in ("train", "test"))
        shared = sorted({image for image, _ in train.values()} & {image for image, _ in test.values()})
        if shared:
            raise DatasetError(
                f"Dataset {dataset!r}: {len(shared)} image(s) are in both splits, e.g. {shared[0]}. Mend the lists or "
                "patterns of one of them."
            )
        return train, test

    def _parts(
        self, plan: Plan, description: Description, name: str, said: Mapping[str, Mapping[str, str]]
    ) -> dict[str, str]:
        given = {key or "list": part for key, part in said.get(name, {}).items()}
        require_parts(description.path, name, given, PARTS)
        parts = {**plan.splits.get(name, {}), **given}
        missing = [key for key in ("images", "masks") if key not in parts]
        if missing:
            raise DatasetError(
                f"{description.path}: key 'splits.{name}': expected the patterns images and masks, but "
                f"{' and '.join(missing)} is missing. For example: "
                "{images: 'train/img/*.jpg', masks: 'train/ann/*_label.png'}"
            )
        return parts

    def _split(self, plan: Plan, description: Description, parts: Mapping[str, str]) -> Files:
        root, dataset = description.root, description.spec.name
        listed = read_list(root / parts["list"], dataset) if "list" in parts else None
        if "names" in parts:
            if listed is not None:
                raise DatasetError(f"{description.path}: key 'splits': list and names say the same. Leave one out.")
            listed = parts["names"].split()
        return pair_patterns(root, parts, dataset, listed, plan.partial)
