"""The command ``muster predict``: masks and overlays of a folder of images, by a fine-tuned ensemble."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import fields
from io import BytesIO
from pathlib import Path

from PIL import Image
from rich.console import Console

from muster.commands.newest import newest_ensemble
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data import IMAGE_SUFFIXES, list_images, read_image, unreadable_images
from muster.errors import ConfigError, DatasetError
from muster.files import as_file_name, atomic_write
from muster.launch import only_helps
from muster.outputs import PREDICTIONS, claimed
from muster.precision import Precision
from muster.report import mask_image, overlay
from muster.training.finetuned_ensemble import CARD, Ensemble, load_ensemble
from muster.training.finetuning import ENSEMBLE
from muster.training.hardware import Hardware

PREDICTIONS_FOLDER = "predictions"
MASKS, OVERLAYS = "masks", "overlays"
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
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Predict a folder of images with a fine-tuned ensemble: a mask and an overlay of each.

    Args:
        images: Folder of images of any size.
        ensemble: What to predict with; by default the newest run below runs/finetunings.
        output: Where masks and overlays go; by default below the folder predictions of the run, in one of its own for
            every folder of images.
        hardware: What to compute on.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0, or 1 if an image could not be predicted.
    """
    asked.require_effect(IDLE_HARDWARE, "on prediction, which takes one device")
    return predict_with(images, ensemble, output, hardware, configuration, IDLE_HARDWARE)


def predict_with(
    images: Path,
    ensemble: Path | None,
    output: Path | None,
    hardware: Hardware,
    configuration: str,
    idle: Collection[str],
    option: str = "--images",
) -> int:
    """Fill in the options that were not given, and predict; see :func:`predict`.

    Args:
        images: Folder of images.
        ensemble: What to predict with, if it was named.
        output: Where results go, if that was named.
        hardware: What to compute on.
        configuration: The resolved configuration.
        idle: Options in it that have no effect.
        option: What named the folder of images, for messages.

    Returns:
        Exit status.
    """
    if only_helps():
        return 0  # one process predicts
    fitted = ensemble or newest_ensemble()
    folder, device = output or predictions_folder(fitted, images), hardware.resolved_device()
    resolved = {"ensemble": fitted, "output": folder, **hardware.resolved_options()}
    ran = record_of(configuration, idle, resolved)
    return predict_folder(images, fitted, folder, device, make_console(), ran, hardware.precision, option)


def predictions_folder(ensemble: Path, images: Path) -> Path:
    """Where the predictions of a folder of images go unless the user says: another for every such folder.

    Args:
        ensemble: What finetune.py wrote.
        images: The folder of images.

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
) -> int:
    """Write a mask and an overlay for every image of a folder.

    Masks are 8-bit palette PNGs whose values are class indices; ``classes.txt`` names them. An image that cannot be
    read is named, and the others are predicted all the same.

    Args:
        images: Folder of images of any size.
        ensemble: What finetune.py wrote.
        output: Where ``masks/`` and ``overlays/`` go.
        device: Where the ensemble runs.
        console: Where to print.
        configuration: What was asked for, saved as config.yaml.
        precision: What its members compute in.
        option: What named the folder of images, for messages.

    Returns:
        0, or 1 if an image could not be read.

    Raises:
        DatasetError: If the folder is missing or holds no image.
        ConfigError: If the output is something else, or overlaps the images or the ensemble.
    """
    if not images.is_dir():
        raise DatasetError(f"{images} is not a folder. Give a folder of images.")
    files = list_images(images, IMAGE_SUFFIXES)
    if not files:
        raise DatasetError(f"{option}: {images} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    loaded = load_ensemble(ensemble, device, precision)
    kept_apart = None if _resolved_below(output, run_folder(ensemble) / PREDICTIONS_FOLDER) else run_folder(ensemble)
    with claimed(output, PREDICTIONS, {option: images, "--ensemble": kept_apart}, images=str(images.resolve())):
        strange = [path for path in unreadable_images(images) if path.stem not in files]  # a raw file may lie by
        unread = [f"{path} is of a kind that is not read. Convert it to PNG." for path in strange]
        damaged = _predict_all(files, loaded, output)
        with atomic_write(output / "classes.txt") as partial:
            partial.write_text("".join(f"{index} {name}\n" for index, name in enumerate(loaded.classes)), "utf-8")
        with atomic_write(output / "config.yaml") as partial:
            partial.write_text(configuration, "utf-8")
    done, problems = len(files) - len(damaged), [*unread, *damaged]
    console.print(f"Predicted {done} of {done + len(problems)} images: masks and overlays are in {output}.")
    for problem in problems:
        console.print(problem, style="red")
    return 1 if problems else 0


def _resolved_below(path: Path, parent: Path) -> bool:
    return parent.resolve() in path.resolve().parents


def _predict_all(files: Mapping[str, Path], ensemble: Ensemble, output: Path) -> list[str]:
    """Write what can be written, and say what could not be read."""
    for part in (MASKS, OVERLAYS):
        if (output / part).is_symlink():
            raise ConfigError(f"{output / part} is a link: what it leads to is not replaced. Give another --output.")
    problems = []
    for stem, path in files.items():
        try:
            image = read_image(path)
        except DatasetError as error:
            problems.append(str(error))
            continue
        mask = ensemble.predict(image)
        with atomic_write(output / MASKS / f"{stem}.png") as partial:
            partial.write_bytes(_encoded(mask_image(mask), "PNG"))
        with atomic_write(output / OVERLAYS / f"{stem}.jpg") as partial:
            partial.write_bytes(_encoded(overlay(image, mask), "JPEG", quality=92))
    return problems


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    """The content of an image file. Pillow itself takes no notice when a full disk takes only a part of a JPEG."""
    content = BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()
