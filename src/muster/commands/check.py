"""The command ``muster check``: what a dataset holds, what is wrong with it, and how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from muster.commands.check_summary import Findings, print_check, size_in_words
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data import (
    Dataset,
    Sample,
    Split,
    SplitCheck,
    check_split,
    decode_text,
    open_dataset,
    repeated_images,
    split_record,
)
from muster.data.opening import DataSettings, is_built_in
from muster.errors import DatasetError
from muster.files import as_file_name, write_bytes, write_text, write_yaml
from muster.launch import only_helps
from muster.machine import now
from muster.output_kinds import CHECK
from muster.outputs import claimed
from muster.report.contact_sheet import SHOWN_IMAGES, contact_sheet
from muster.tasks.task import task_of

CHECKS = Path("runs/checks")
SHEET = "contact_sheet.png"
EXAMPLES = "examples.txt"
"""In place of the sheet, where a dataset holds texts."""


def check(
    dataset: str,
    reader: str = "",
    output: Path | None = None,
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Read every image of a dataset: counts, classes, sizes, faults, images that are there twice, a contact sheet.

    Args:
        dataset: A folder, or worlds/NAME.
        reader: Layout of the folder; by default what its dataset.yaml says, or what it looks like.
        output: Where check.yaml, splits.yaml and contact_sheet.png (of texts examples.txt) go; by default
            runs/checks/NAME.
        data: Where the dataset lies.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0 if the dataset can be used, 1 if not.
    """
    if only_helps():
        return 0
    idle = {"data_root": f"for {dataset}, which is built in"} if is_built_in(dataset) else {}
    asked.refuse(idle)
    console = make_console()
    opened = open_dataset(dataset, data.data_root, reader)
    folder = output or CHECKS / as_file_name(opened.spec.name)
    with claimed(folder, CHECK, {"the dataset": opened.reference, "--data_root": data.data_root}):
        write_text(folder / "config.yaml", record_of(configuration, idle, {"output": folder}))
        return check_opened(opened, folder, console)


def check_opened(dataset: Dataset, folder: Path, console: Console) -> int:
    """Check a dataset, print what was found, and write it.

    Args:
        dataset: The dataset.
        folder: Where the results go; it must be there.
        console: Where to print.

    Returns:
        As :func:`check`.
    """
    task, whole = task_of(dataset.spec), (dataset.train, dataset.test)
    train, test = map(task.in_classes, whole)
    dataset = replace(dataset, spec=train.spec, train=train, test=test)
    splits = {split.name: _checked(split, console) for split in (train, test)}
    usable = (replace(each, identifiers=_usable(splits[each.name], each)) for each in whole)
    notes = tuple(note for split in usable if len(split) for note in task.notes_on(split))
    found = Findings(dataset, splits, *repeated_images(dataset), notes)
    print_check(found, console)
    samples = _shown(dataset.train, splits[dataset.train.name])
    if samples and dataset.spec.has_texts:
        write_text(folder / EXAMPLES, _examples(samples, dataset.spec.classes))
        console.print(f"Examples: {folder / EXAMPLES}")
    elif samples:
        title = f"{dataset.spec.name}: {len(dataset.train)} training and {len(dataset.test)} test images"
        write_bytes(folder / SHEET, contact_sheet(samples, dataset.spec.classes, title))
        console.print(f"Contact sheet: {folder / SHEET}")
    write_yaml(folder / "splits.yaml", split_record(dataset))
    write_yaml(folder / "check.yaml", _record(found))
    return 0 if found.usable else 1


def _examples(samples: Sequence[tuple[str, Sample]], classes: Sequence[str]) -> str:
    """Texts with their names and classes, to be read in place of a contact sheet."""
    told = (f"{name} ({classes[int(sample.mask)]})\n{decode_text(sample.image)}\n" for name, sample in samples)
    return "\n".join(told)


def _usable(found: SplitCheck, split: Split) -> tuple[str, ...]:
    """The images that can be read with their truths."""
    unusable = set(found.unusable)
    return tuple(each for each in split.identifiers if each not in unusable)


def _checked(split: Split, console: Console) -> SplitCheck:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"Reading the {split.spec.holds} of {split.name}", total=len(split))
        return check_split(split, lambda done, _: progress.update(task, completed=done))


def _shown(split: Split, checked: SplitCheck) -> list[tuple[str, Sample]]:
    """Images for the sheet: the best example of each class, the rarest class first, and then seeded ones."""
    order = sorted(range(split.spec.num_classes), key=lambda index: checked.class_pixels[index])
    wanted = [name for index in order if (name := checked.examples[index]) is not None]
    wanted += split.subset(2 * SHOWN_IMAGES, seed=0).identifiers
    samples: list[tuple[str, Sample]] = []
    for name in dict.fromkeys(wanted):
        try:
            samples.append((f"{split.name}: {name}", split.read(name)))
        except DatasetError:
            continue  # told among the faults
        if len(samples) == SHOWN_IMAGES:
            break
    return samples


def _published(found: Findings) -> dict[str, Any] | None:
    """What was published, and how the copy differs."""
    facts = found.dataset.published
    if facts is None:
        return None
    told = {key: value for key, value in asdict(facts).items() if key != "dataset"}
    return {**told, "path": str(facts.path), "missing": facts.missing(found.numbers)}


def _record(found: Findings) -> dict[str, Any]:
    """What check.yaml says."""
    classes = found.dataset.spec.classes
    splits = {
        name: {
            "images": each.images,
            "void_pixels": each.void_pixels,
            "class_pixels": dict(zip(classes, each.class_pixels, strict=True)),
            "class_images": dict(zip(classes, each.class_images, strict=True)),
            "sizes": sorted({size_in_words(size, found.dataset.spec) for size in each.sizes}),
        }
        for name, each in found.splits.items()
    }
    return {
        "dataset": found.dataset.spec.name,
        "reference": found.dataset.reference,
        "usable": found.usable,
        "date": now(),
        "splits": splits,
        "problems": [*found.problems, *found.faults],
        "notes": found.all_notes,
        "published": _published(found),
        "repeated_images": found.repeated,
        "test_images_in_training": [{"test": test, "train": train} for test, train in found.shared],
    }
