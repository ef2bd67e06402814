"""What ``muster check`` prints: tables of splits and classes, faults, and whether the dataset can be used."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from muster.data import Dataset, SplitCheck, judge_labels
from muster.errors import DatasetError

SHOWN = 10
"""How many faults of a kind are printed; the record has all."""


def label_fault(dataset: Dataset, name: str, found: SplitCheck) -> str | None:
    """What is wrong with the labels of a split as a whole, if anything.

    Args:
        dataset: The dataset.
        name: ``train`` or ``test``.
        found: What the split holds.

    Returns:
        A sentence, or ``None``.
    """
    split = dataset.train if name == dataset.train.name else dataset.test
    if not found.sizes:
        return None  # no image could be read, which is told already
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table shows which classes are absent
        try:
            judge_labels(split, found.class_pixels)
        except DatasetError as error:
            return str(error)
    return None


def print_check(
    dataset: Dataset,
    found: dict[str, SplitCheck],
    repeated: Sequence[Sequence[str]],
    shared: Sequence[tuple[str, str]],
    console: Console,
) -> bool:
    """Print what was found.

    Args:
        dataset: The dataset.
        found: By split.
        repeated: Groups of equal images within a split.
        shared: Test images that equal training images.
        console: Where to print.

    Returns:
        Whether the dataset can be used.
    """
    console.print(
        f"{dataset.spec.name} ({dataset.spec.domain}), {dataset.spec.num_classes} classes: {dataset.reference}"
    )
    console.print(_splits(found))
    console.print()
    console.print(_classes(dataset, found))
    problems = [problem for each in found.values() for problem in each.problems]
    faults = [fault for name, each in found.items() if (fault := label_fault(dataset, name, each))]
    _list("image(s) cannot be used", problems, console, "red")
    for fault in faults:
        console.print(fault, style="red")
    _list("group(s) of equal images in one split", [", ".join(group) for group in repeated], console, "yellow")
    pairs = [f"{test} of the test split is {train} of the training split" for test, train in shared]
    _list("test image(s) are also training images, byte for byte", pairs, console, "yellow")
    for note in (note for each in found.values() for note in each.notes):
        console.print(note)
    usable = not problems and not faults
    console.print("The dataset can be used." if usable else "The dataset cannot be used as it is.", style="bold")
    return usable


def _list(headline: str, lines: Sequence[str], console: Console, style: str) -> None:
    if not lines:
        return
    console.print(f"{len(lines)} {headline}:", style=style)
    for line in lines[:SHOWN]:
        console.print(f"  {line}")
    if len(lines) > SHOWN:
        console.print(f"  and {len(lines) - SHOWN} more (all are in check.yaml)")


def _splits(found: dict[str, SplitCheck]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("split", overflow="fold")
    for heading in ("images", "unusable", "void", "smallest", "median", "largest"):
        table.add_column(heading, justify="right")
    for name, each in found.items():
        pixels = sum(each.class_pixels) + each.void_pixels
        by_area = sorted(each.sizes, key=lambda size: (size[0] * size[1], size))
        shown = [by_area[0], by_area[len(by_area) // 2], by_area[-1]] if by_area else []
        sizes = [f"{columns} x {rows}" for rows, columns in shown] or ["-"] * 3
        table.add_row(name, str(each.images), str(len(each.problems)), _share(each.void_pixels, pixels), *sizes)
    return table


def _classes(dataset: Dataset, found: dict[str, SplitCheck]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("class", overflow="fold")
    for name in found:
        table.add_column(f"pixels of {name}", justify="right")
        table.add_column("in images", justify="right")
    for index, label in enumerate(dataset.spec.classes):
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
