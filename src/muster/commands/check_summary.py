"""What ``muster check`` prints: tables of splits and classes, faults, and whether the dataset can be used."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from rich.console import Console
from rich.table import Table

from muster.data import Dataset, DatasetSpec, Split, SplitCheck, judge_labels
from muster.data.layouts.voc import CLASSES
from muster.data.published import Published
from muster.data.tiles import whole_images
from muster.errors import DatasetError
from muster.tasks.task import Task, task_of

SHOWN = 10
"""How many faults of a kind are printed; the record has all."""


@dataclass(frozen=True)
class Findings:
    """What a look at every file of a dataset found.

    Attributes:
        dataset: The dataset.
        splits: What each split holds.
        repeated: Groups of equal images within a split.
        shared: Test images, each with the training image that it equals.
        notes: What the task says of the truths, see :meth:`muster.tasks.task.Task.notes_on`.
    """

    dataset: Dataset
    splits: Mapping[str, SplitCheck]
    repeated: Sequence[Sequence[str]]
    shared: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()

    @property
    def all_notes(self) -> list[str]:
        """What is unusual but no fault."""
        return [note for each in self.splits.values() for note in each.notes] + list(self.notes)

    @property
    def numbers(self) -> dict[str, int]:
        """Of classes, and of the images of each split, as :attr:`muster.data.published.Published.official` has them."""
        return {
            "classes": self.dataset.spec.num_classes,
            "train": whole_images(self.dataset.train),
            "test": whole_images(self.dataset.test),
        }

    @property
    def problems(self) -> list[str]:
        """What is wrong with single images."""
        return [problem for each in self.splits.values() for problem in each.problems]

    @cached_property
    def faults(self) -> list[str]:
        """What is wrong with the labels of a split as a whole."""
        splits = (self.dataset.train, self.dataset.test)
        return [fault for split in splits if (fault := _label_fault(split, self.splits[split.name]))]

    @property
    def usable(self) -> bool:
        """Whether the dataset can be used."""
        return not self.problems and not self.faults


def _label_fault(split: Split, found: SplitCheck) -> str | None:
    if not found.sizes:
        return None  # no image could be read, which is told already
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table shows which classes are absent
        try:
            judge_labels(split, found.class_pixels, found.has_masks)
        except DatasetError as error:
            return str(error)
    return None


def print_check(found: Findings, console: Console) -> None:
    """Print what was found.

    Args:
        found: All of it.
        console: Where to print.
    """
    spec = found.dataset.spec
    console.print(f"{spec.name} ({spec.domain}), {spec.num_classes} classes: {found.dataset.reference}")
    console.print(_splits(found.splits, spec))
    console.print()
    console.print(_classes(spec.classes, found.splits, task_of(spec)))
    _list(f"{task_of(spec).sample}(s) cannot be used", found.problems, console, "red")
    for fault in found.faults:
        console.print(fault, style="red")
    _list(
        f"group(s) of equal {spec.holds} in one split",
        [", ".join(group) for group in found.repeated],
        console,
        "yellow",
    )
    pairs = [f"{test} of the test split is {train} of the training split" for test, train in found.shared]
    shared = f"test {task_of(spec).sample}(s) are also training {spec.holds}, byte for byte"
    _list(shared, pairs, console, "yellow")
    for note in found.all_notes:
        console.print(note)
    if found.dataset.published is not None:
        _compare(found.dataset.published, spec.holds, found.numbers, console)
    if names_are_assumed(found):
        console.print(
            "The names of the classes are those of the Pascal VOC challenge: nothing in the folder says others. If "
            "yours are others, list them in dataset.yaml (classes: [background, ...]) or in labelmap.txt.",
            style="yellow",
        )
    told = "The dataset can be used." if found.usable else "The dataset cannot be used as it is."
    console.print(told, style="bold")


def _compare(published: Published, holds: str, numbers: Mapping[str, int], console: Console) -> None:
    """Say whether a copy is whole, and on what terms it may be used."""
    if told := published.how_it_differs("This copy", numbers):
        console.print(told, style="yellow")
    else:
        console.print(f"As many classes and {holds} as {published.name} was published with.")
    doubt = f" (No second source was found for: {', '.join(published.unverified)}.)" if published.unverified else ""
    console.print(f"Licence: {published.licence}. To cite: {published.citation}{doubt}")


def names_are_assumed(found: Findings) -> bool:
    """Whether classes have the challenge's names though some occur nowhere, as in a dataset of other classes."""
    counts = zip(*(each.class_pixels for each in found.splits.values()), strict=True)
    return found.dataset.spec.classes == CLASSES and any(not any(pixels) for pixels in counts)


def _list(headline: str, lines: Sequence[str], console: Console, style: str) -> None:
    if not lines:
        return
    console.print(f"{len(lines)} {headline}:", style=style)
    advice = common_advice(lines)
    for line in lines[:SHOWN]:
        console.print(f"  {line.removesuffix(advice).rstrip()}")
    if len(lines) > SHOWN:
        console.print(f"  and {len(lines) - SHOWN} more (all are in check.yaml)")
    if advice:
        console.print(advice)


def common_advice(lines: Sequence[str]) -> str:
    """The sentences with which all lines end, to be said once; empty if there are none."""
    if len(lines) < 2:
        return ""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*map(reversed, lines), strict=False))
    end = "".join(letters[0] for letters in alike)[::-1]
    return end.partition(". ")[2]


def size_in_words(size: tuple[int, int], spec: DatasetSpec) -> str:
    """The size of a sample: of an image width x height, of a text its characters."""
    rows, columns = size
    return f"{columns} characters" if spec.has_texts else f"{columns} x {rows}"


def _splits(found: Mapping[str, SplitCheck], spec: DatasetSpec) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("split", overflow="fold")
    for heading in (spec.holds, "unusable", "void", "smallest", "median", "largest"):
        table.add_column(heading, justify="right")
    for name, each in found.items():
        pixels = sum(each.class_pixels) + each.void_pixels
        by_area = sorted(each.sizes, key=lambda size: (size[0] * size[1], size))
        shown = [by_area[0], by_area[len(by_area) // 2], by_area[-1]] if by_area else []
        sizes = [size_in_words(size, spec) for size in shown] or ["-"] * 3
        table.add_row(name, str(each.images), str(len(each.problems)), _share(each.void_pixels, pixels), *sizes)
    return table


def _classes(classes: Sequence[str], found: Mapping[str, SplitCheck], task: Task) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("class", overflow="fold")
    for name in found:
        table.add_column(f"{task.unit}s of {name}", justify="right")
        table.add_column(f"in {task.holds}", justify="right")
    for index, label in enumerate(classes):
        cells = []
        for each in found.values():
            cells += [_share(each.class_pixels[index], sum(each.class_pixels)), str(each.class_images[index])]
        table.add_row(f"{index} {label}", *cells)
    return table


def _share(part: int, whole: int) -> str:
    if part == 0 or whole == 0:
        return "none" if part == 0 else "-"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"
