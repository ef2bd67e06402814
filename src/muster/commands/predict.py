"""The command ``muster predict``: masks and overlays of images, by a fine-tuned ensemble."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path

from rich.console import Console

from muster.commands.classified_files import CLASSES, classify_files, require_no_maps
from muster.commands.classified_texts import classify_texts, listed_texts
from muster.commands.found_files import DETECTIONS, find_in_files, require_lists, require_objects
from muster.commands.newest import newest_ensemble
from muster.commands.number_files import explain, parts_of, write_numbers
from muster.commands.prediction_files import OVERLAYS, PredictionSettings, require_no_links, write_prediction
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data import IMAGE_SUFFIXES, list_images, unreadable_images
from muster.data.spec import RGB, TEXTS
from muster.errors import ConfigError, DatasetError
from muster.files import as_file_name, write_text
from muster.launch import only_helps
from muster.output_kinds import PREDICTIONS
from muster.outputs import claimed
from muster.precision import Precision
from muster.remote import fetched
from muster.tasks.task import TASKS
from muster.training.ensemble_card import CARD, EnsembleCard, read_card
from muster.training.finetuned_ensemble import Ensemble, load_ensemble
from muster.training.finetuning import ENSEMBLE
from muster.training.hardware import Hardware

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
        images: A file, a folder or a list, see :func:`listed_images`.
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


def require_rgb(card: EnsembleCard, command: str) -> None:
    """Check that an ensemble takes the images that a command reads.

    Args:
        card: The ensemble's.
        command: What reads them.

    Raises:
        ConfigError: If it was fine-tuned on images of other than three channels, or on texts.
    """
    if TASKS[card.known_task].holds == TEXTS:
        raise ConfigError(
            f"{command} takes images, and the ensemble for {card.target} classifies texts. Use muster predict, or in "
            "Python: muster.load_ensemble(PATH).classify(text)."
        )
    if len(card.mean) != RGB:
        raise ConfigError(
            f"{command} takes RGB images, but the ensemble for {card.target} was fine-tuned on images of "
            f"{len(card.mean)} channel(s). Predict in Python: muster.load_ensemble(PATH).predict(image)."
        )


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
    """Write a mask and an overlay for every image, and what else is asked for; or the class of each in ``classes.csv``.

    Of a model that finds objects, ``detections.json`` in COCO's form and pictures with boxes.

    Masks are 8-bit palette PNGs whose values are class indices; ``classes.txt`` names them. Maps of a
    georeferenced TIFF are GeoTIFFs. An image that cannot be read is named, and the others are predicted all the same.

    Args:
        images: A file, a folder or a list of images of any size, see :func:`listed_images`.
        ensemble: What finetune.py wrote.
        output: Where ``masks/`` and ``overlays/`` go.
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
    texts = listed_texts(images, option) if TASKS[card.known_task].holds == TEXTS else None
    files = listed_images(images, option) if texts is None else {}
    if texts is None:
        require_rgb(card, "Prediction of files")
    loaded = load_ensemble(ensemble, device, precision)
    kept_apart = None if _resolved_below(output, run_folder(ensemble) / PREDICTIONS_FOLDER) else run_folder(ensemble)
    console.print(f"Members see each {loaded.task.sample} at {loaded.preprocessing.known_size}.")
    has_numbers = not (loaded.is_pooled or loaded.task.has_classes or loaded.task.finds_objects)
    if loaded.task.finds_objects:
        require_lists(settings)
    else:
        require_objects(settings)
    if loaded.is_pooled:
        require_no_maps(settings)
    if has_numbers:
        parts_of(loaded, settings)
    with claimed(output, PREDICTIONS, {option: images, "--ensemble": kept_apart}, images=str(images.resolve())):
        looks = images.is_dir() and texts is None
        strange = [path for path in unreadable_images(images) if path.stem not in files] if looks else []
        unread = [f"{path} is of a kind that is not read. Convert it to PNG." for path in strange]
        if texts is not None:
            in_tiles, damaged = 0, list[str]()
            classify_texts(texts, loaded, output)
        elif loaded.is_pooled:
            in_tiles, damaged = 0, classify_files(files, loaded, output)
        elif loaded.task.finds_objects:
            in_tiles, damaged = 0, find_in_files(files, loaded, output, settings)
        else:
            write = write_numbers if has_numbers else write_prediction
            in_tiles, damaged = _predict_all(files, loaded, output, settings, write)
        _explain(loaded, output, has_numbers)
        write_text(output / "config.yaml", configuration)
    done, problems = len(files if texts is None else texts) - len(damaged), [*unread, *damaged]
    parts = _parts_of(loaded, settings, has_numbers)
    written = " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
    told = f"{done} of {done + len(problems)} {loaded.task.holds}: {written} {'is' if not parts[1:] else 'are'}"
    console.print(f"Predicted {told} in {output}.")
    if in_tiles:
        side = settings.tile_side or max(loaded.stored_size or (0,))
        console.print(
            f"{in_tiles} of them in overlapping tiles of {side} pixels, each shown to the members as an image."
        )
    for problem in problems:
        console.print(problem, style="red")
    return 1 if problems else 0


def _parts_of(loaded: Ensemble, settings: PredictionSettings, has_numbers: bool) -> tuple[str, ...]:
    """What is written of the images."""
    if loaded.task.finds_objects:
        return (DETECTIONS, OVERLAYS) if settings.overlays else (DETECTIONS,)
    if loaded.is_pooled:
        return (CLASSES,)
    return parts_of(loaded, settings) if has_numbers else settings.parts


def _explain(loaded: Ensemble, output: Path, has_numbers: bool) -> None:
    """Say beside the files what the values in them mean."""
    if has_numbers:
        explain(loaded, output)
    else:
        write_text(output / "classes.txt", "".join(f"{index} {name}\n" for index, name in enumerate(loaded.classes)))


def listed_images(images: Path, option: str = "--images") -> dict[str, Path]:
    """What is to be predicted.

    Args:
        images: An image file, a folder of images, or a text file with one image file a line; relative ones are looked
            for beside it.
        option: What named it, for messages.

    Returns:
        Files by what to call their predictions.

    Raises:
        DatasetError: If there is nothing to predict, or two files would be called alike.
    """
    images = fetched(images, DatasetError)
    if images.is_dir():
        if files := list_images(images, IMAGE_SUFFIXES):
            return files
        raise DatasetError(f"{option}: {images} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    if not images.is_file():
        raise DatasetError(f"{option}: {images} is neither a folder nor a file. Give a folder of images, or an image.")
    if images.suffix.lower() in IMAGE_SUFFIXES:
        return {images.stem: images}
    if images.suffix.lower() != ".txt":
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DatasetError(f"{option}: {images} is neither an image ({kinds}) nor a list of images (.txt).")
    try:
        lines = images.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{option}: {images} is no text in UTF-8: {error}.") from error
    found: dict[str, Path] = {}
    for path in (images.parent / line.strip() for line in lines if line.strip()):
        if found.setdefault(path.stem, path) != path:
            raise DatasetError(
                f"{images} lists {found[path.stem]} and {path}, whose predictions would be called alike."
            )
    if not found:
        raise DatasetError(f"{option}: {images} lists no image.")
    return found


def _resolved_below(path: Path, parent: Path) -> bool:
    return parent.resolve() in path.resolve().parents


def _predict_all(
    files: Mapping[str, Path],
    ensemble: Ensemble,
    output: Path,
    settings: PredictionSettings,
    write: Callable[[Ensemble, Path, str, Path, PredictionSettings], bool],
) -> tuple[int, list[str]]:
    """Write what can be written; how many images were predicted in tiles, and which could not be read."""
    require_no_links(output, settings)
    problems, in_tiles = [], 0
    for stem, path in files.items():
        try:
            in_tiles += write(ensemble, path, stem, output, settings)
        except DatasetError as error:
            problems.append(str(error))
    return in_tiles, problems
