"""The command ``muster predict``: masks and overlays of images, by a fine-tuned ensemble."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from rich.console import Console

from muster.commands.newest import newest_ensemble
from muster.commands.predictions.settings import PredictionSettings
from muster.commands.predictions.writer import PredictionWriter, Sample, writer_of
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.errors import DatasetError
from muster.files import as_file_name, write_text
from muster.launch import only_helps
from muster.output_kinds import PREDICTIONS
from muster.outputs import claimed
from muster.precision import Precision
from muster.tasks.task import TASKS
from muster.training.ensemble_card import CARD, read_card
from muster.training.finetuned_ensemble import load_ensemble
from muster.training.hardware import Hardware
from muster.training.run_files import ENSEMBLE

PREDICTIONS_FOLDER = "predictions"
_DIGITS = 8
_LONGEST_NAME = 60

_USED = {"device", "precision"}

IDLE_HARDWARE = tuple(f"hardware.{field.name}" for field in fields(Hardware) if field.name not in _USED)
"""Options of the hardware that prediction does not look at."""


def predict(
    images: Path,
    ensemble: Path | None = None,
    output: Path | None = None,
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    settings: Spread[PredictionSettings] = PredictionSettings(),  # noqa: B008 (frozen)
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Predict images with a fine-tuned ensemble: a mask and an overlay of each; or classify texts.

    Args:
        images: Images of any size: a file, a folder, or a text file that lists image files, one a line. For texts a
            folder of .txt files, a .txt file with a text in each line, or a table (.csv, .tsv) with a column text.
        ensemble: What to predict with; by default the newest run below runs/finetunings.
        output: Where masks and overlays go; by default below the folder predictions of the run, in one of its own for
            every folder of images.
        hardware: What to compute on.
        settings: What is written, and how large images are predicted.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0, or 1 if an image could not be predicted.
    """
    asked.require_effect(IDLE_HARDWARE, "on prediction, which takes one device")
    return predict_with(images, ensemble, output, hardware, configuration, IDLE_HARDWARE, settings=settings)


def predict_with(
    images: Path,
    ensemble: Path | None,
    output: Path | None,
    hardware: Hardware,
    configuration: str,
    idle: Collection[str],
    option: str = "--images",
    settings: PredictionSettings = PredictionSettings(),  # noqa: B008 (frozen)
) -> int:
    """Fill in the options that were not given, and predict; see :func:`predict`.

    Args:
        images: A file, a folder or a list, see :meth:`muster.commands.predictions.writer.PredictionWriter.listed`.
        ensemble: What to predict with, if it was named.
        output: Where results go, if that was named.
        hardware: What to compute on.
        configuration: The resolved configuration.
        idle: Options in it that have no effect.
        option: What named the images, for messages.
        settings: What is written, and how large images are predicted.

    Returns:
        Exit status.
    """
    if only_helps():
        return 0  # one process predicts
    fitted = ensemble or newest_ensemble()
    folder, device = output or predictions_folder(fitted, images), hardware.resolved_device()
    resolved = {"ensemble": fitted, "output": folder, **hardware.resolved_options()}
    ran = record_of(configuration, idle, resolved)
    return predict_folder(images, fitted, folder, device, make_console(), ran, hardware.precision, option, settings)


def predictions_folder(ensemble: Path, images: Path) -> Path:
    """Where predictions go unless the user says: another folder for every folder, file or list of images.

    Args:
        ensemble: What finetune.py wrote.
        images: What is predicted.

    Returns:
        A folder below that of the run, named for the images and, so that ``train/images`` and ``val/images`` are told
        apart, for all of their path.
    """
    path = images.resolve()
    whole = hashlib.sha256(os.fsencode(path)).hexdigest()[:_DIGITS]
    name = as_file_name("-".join(path.parts[-2:]).strip("/"))[:_LONGEST_NAME]
    return run_folder(ensemble) / PREDICTIONS_FOLDER / f"{name}-{whole}"


def run_folder(ensemble: Path) -> Path:
    """The folder of the run that an ensemble belongs to, if it lies in one."""
    return ensemble.parent if ensemble.name == ENSEMBLE and (ensemble / CARD).is_file() else ensemble


def predict_folder(
    images: Path,
    ensemble: Path,
    output: Path,
    device: str,
    console: Console,
    configuration: str = "",
    precision: Precision = "auto",
    option: str = "--images",
    settings: PredictionSettings = PredictionSettings(),  # noqa: B008 (frozen)
) -> int:
    """Write what an ensemble predicts of each of some images or texts, as :mod:`muster.commands.predictions` has it.

    What cannot be read is named, and the others are predicted all the same.

    Args:
        images: A file, a folder or a list, see :meth:`muster.commands.predictions.writer.PredictionWriter.listed`.
        ensemble: What finetune.py wrote.
        output: Where files go.
        device: Where the ensemble runs.
        console: Where to print.
        configuration: What was asked for, saved as config.yaml.
        precision: What its members compute in.
        option: What named the images, for messages.
        settings: What is written, and how large images are predicted.

    Returns:
        0, or 1 if an image could not be read.

    Raises:
        DatasetError: If there is nothing to predict.
        ConfigError: If the output is something else, or overlaps the images or the ensemble, or the ensemble is for
            images of other than three channels.
    """
    card = read_card(ensemble)
    kind = writer_of(TASKS[card.known_task])
    samples = kind.listed(images, option, card)
    loaded = load_ensemble(ensemble, device, precision)
    kept_apart = None if _resolved_below(output, run_folder(ensemble) / PREDICTIONS_FOLDER) else run_folder(ensemble)
    console.print(f"Members see each {loaded.task.sample} at {loaded.preprocessing.known_size}.")
    writer = kind(loaded, output, settings)
    with claimed(output, PREDICTIONS, {option: images, "--ensemble": kept_apart}, images=str(images.resolve())):
        unread = kind.passed_over(images, samples)
        in_tiles, damaged = _write_all(writer, samples)
        write_text(output / "config.yaml", configuration)
    return _summary(writer, len(samples) - len(damaged), in_tiles, [*unread, *damaged], console)


def _write_all(writer: PredictionWriter[Sample], samples: Mapping[str, Sample]) -> tuple[int, list[str]]:
    """Write what can be written; how many samples were predicted in tiles, and which could not be read."""
    writer.begin()
    problems, in_tiles = [], 0
    for name, sample in samples.items():
        try:
            in_tiles += writer.add(name, sample)
        except DatasetError as error:
            problems.append(str(error))
    writer.finish()
    return in_tiles, problems


def _summary(
    writer: PredictionWriter[Sample], done: int, in_tiles: int, problems: Sequence[str], console: Console
) -> int:
    """Print what was written and what could not be; the exit status."""
    loaded, parts = writer.ensemble, writer.parts
    written = " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
    told = f"{done} of {done + len(problems)} {loaded.task.holds}: {written} {'is' if not parts[1:] else 'are'}"
    console.print(f"Predicted {told} in {writer.output}.")
    if in_tiles:
        side = writer.settings.tile_side or max(loaded.stored_size or (0,))
        console.print(
            f"{in_tiles} of them in overlapping tiles of {side} pixels, each shown to the members as an image."
        )
    for problem in problems:
        console.print(problem, style="red")
    return 1 if problems else 0


def _resolved_below(path: Path, parent: Path) -> bool:
    return parent.resolve() in path.resolve().parents
