"""Texts with a class each: what layouts of texts have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Int32
from torch import Tensor

from muster.data.content import prefix_of_text
from muster.data.dataset_yaml import Description
from muster.data.images import Header
from muster.data.labelled_images import labelled_split
from muster.data.sample_reader import ImageSource
from muster.data.spec import TEXTS, Dataset, DatasetSpec
from muster.data.splits import compare_counts, divide_aloud
from muster.data.texts import encode_text
from muster.errors import DatasetError, unknown_name
from muster.user_files import open_regular

TEXT, LABEL = "text", "label"
"""Names of columns, unless ``columns`` says others."""


class TextSource(ImageSource):
    """The texts of one split, in place of images."""

    @abstractmethod
    def text(self, identifier: str) -> str:
        """One text.

        Raises:
            DatasetError: If it cannot be read.
        """

    def header(self, identifier: str) -> Header:
        """See :class:`ImageSource`."""
        return Header(None, (1, self.read(identifier, as_stored=True).shape[-1]))

    def read(self, identifier: str, as_stored: bool) -> Int32[Tensor, "1 1 characters"]:  # noqa: ARG002 (all are)
        """A text, see :func:`muster.data.texts.encode_text`."""
        return encode_text(self.text(identifier), self.called(identifier))

    def content(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        return prefix_of_text(self.text(identifier))


class KnownTexts(TextSource):
    """Texts in memory, by identifier."""

    def __init__(self, texts: Mapping[str, str], place: str) -> None:
        """Remember them.

        Args:
            texts: By identifier.
            place: Where they are from, for messages.
        """
        self.texts, self.place = texts, place

    def __iter__(self) -> Iterator[str]:
        """See :class:`ImageSource`."""
        return iter(self.texts)

    def __contains__(self, identifier: object) -> bool:
        """See :class:`ImageSource`."""
        return identifier in self.texts

    def called(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        return f"Text {identifier} of {self.place}"

    def text(self, identifier: str) -> str:
        """See :class:`TextSource`."""
        return self.texts[identifier]


class FileTexts(TextSource):
    """Texts that are files."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Remember where they lie.

        Args:
            files: By identifier.
        """
        self.files = files

    def __iter__(self) -> Iterator[str]:
        """See :class:`ImageSource`."""
        return iter(self.files)

    def __contains__(self, identifier: object) -> bool:
        """See :class:`ImageSource`."""
        return identifier in self.files

    def called(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        return f"Text {self.files[identifier]}"

    def text(self, identifier: str) -> str:
        """See :class:`TextSource`."""
        return read_text(self.files[identifier])


class TextRow(NamedTuple):
    """One text of a list.

    Attributes:
        place: The list and the line, for messages.
        text: The text.
        label: Name of its class.
    """

    place: str
    text: str
    label: str


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        DatasetError: If it cannot be read, or is not in UTF-8.
    """
    try:
        with open_regular(path) as file:
            return file.read().decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in UTF-8: {error}. Save it in UTF-8.") from error


def of_texts(spec: DatasetSpec) -> DatasetSpec:
    """What a dataset of texts is, from what its description says."""
    return replace(spec, task="text_classification", holds=TEXTS, channels=1)


def dataset_of_rows(
    description: Description, lists: Mapping[str, tuple[Path, Sequence[TextRow]]], title: str, reference: str
) -> Dataset:
    """A dataset of texts that lists hold; their identifiers are the numbers of the rows.

    Args:
        description: What it is; without a list for ``test``, a fifth of the texts is held out.
        lists: For ``train`` and ``test`` the file and its rows.
        title: What such lists are called, for a warning.
        reference: What it is to be called in records.

    Raises:
        DatasetError: If a list is empty, or has a class that the description does not know.
    """
    spec = of_texts(description.spec)
    texts, labels = dict[str, dict[str, str]](), dict[str, dict[str, int]]()
    places = {name: index for index, name in enumerate(spec.classes)}
    for split, (path, rows) in lists.items():
        if not rows:
            raise DatasetError(f"Dataset {spec.name!r} has an empty split: {path} has no texts.")
        if odd := next((row for row in rows if row.label not in places), None):
            raise DatasetError(f"{odd.place}: {unknown_name('class', odd.label, places)}")
        texts[split] = {f"{number:07}": row.text for number, row in enumerate(rows)}
        labels[split] = {f"{number:07}": places[row.label] for number, row in enumerate(rows)}
    sources = {split: KnownTexts(texts[split], str(path)) for split, (path, _) in lists.items()}
    return divided(description, spec, sources, labels, title, reference)


def divided(
    description: Description,
    spec: DatasetSpec,
    sources: Mapping[str, TextSource],
    labels: Mapping[str, Mapping[str, int]],
    title: str,
    reference: str,
) -> Dataset:
    """A dataset of texts and labels by split; where there are none for testing, a fifth is held out.

    Args:
        description: It may say how many texts there should be.
        spec: What the dataset is.
        sources: Texts of ``train``, and maybe ``test``.
        labels: The class of each of their texts.
        title: What has no test split, for a warning.
        reference: What it is to be called in records.
    """
    if "test" not in sources:
        every, parts = labels["train"], divide_aloud(description, title, labels["train"])
        labels = {
            split: {name: every[name] for name in part} for split, part in zip(("train", "test"), parts, strict=True)
        }
        sources = dict.fromkeys(labels, sources["train"])
    compare_counts(description, {split: len(each) for split, each in labels.items()})
    train, test = (labelled_split(spec, split, sources[split], labels[split]) for split in ("train", "test"))
    return Dataset(spec, train, test, reference)
