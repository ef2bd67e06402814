"""The command ``muster export``: one file that segments or classifies images, made of a fine-tuned ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import muster
from muster.commands.newest import newest_ensemble
from muster.commands.predict import run_folder
from muster.commands.predictions.of_images import require_rgb
from muster.commands.terminal import make_console
from muster.errors import ConfigError, OutputError
from muster.files import as_file_name
from muster.launch import only_helps
from muster.limits import MOST_PIXELS, require_whole
from muster.machine import now
from muster.outputs import require_our_file
from muster.report.palette import hex_colour
from muster.tasks.task import TASKS, Task
from muster.training.ensemble_card import CARD, EnsembleCard, read_card
from muster.training.export import FORMATS, FileFormat, export_ensemble
from muster.training.export.exporting import require_installed
from muster.training.finetuned_ensemble import load_ensemble


def export(
    ensemble: Path | None = None,
    format: str = "onnx",  # noqa: A002 (what users type)
    output: Path | None = None,
    height: int | None = None,
    width: int | None = None,
) -> int:
    """Write a fine-tuned ensemble as one file that segments or classifies images without muster.

    Resizing, normalisation, members, head and enlargement to the size of the image are one graph. It takes any number
    of images of any size, uint8 [batch, 3, height, width] in RGB, and gives probabilities, float32 [batch, classes,
    height, width], and classes, uint8 [batch, height, width]; for whole images probabilities [batch, classes] and
    classes, int64 [batch]. The file is compared with the ensemble, and kept only if
    it agrees. An ensemble of one member is exported likewise.

    Args:
        ensemble: What to export, as finetune.py wrote it; by default the newest run below runs/finetunings.
        format: onnx, for ONNX Runtime and others; or torch, a program of torch.export.
        output: The file; by default in the folder of the run, named for the target.
        height: With width, rows of the only images that the file takes, for architectures that cannot be exported for
            images of any size.
        width: With height, columns of the only images that the file takes.

    Returns:
        0.

    Raises:
        ConfigError: If options do not go together.
    """
    if only_helps():
        return 0
    if (height is None) != (width is None):
        raise ConfigError("--height and --width go together: give both, or neither for images of any size.")
    for name, side in (("height", height), ("width", width)):
        if side is not None:
            require_whole(name, side, 1, MOST_PIXELS)
    chosen = FORMATS[format]
    require_installed(chosen)
    fitted = ensemble or newest_ensemble()
    card = read_card(fitted)
    require_rgb(card, "An exported file")
    path = output or _default_output(fitted, card.target, chosen)
    require_replaceable(path, chosen)
    fixed = None if height is None or width is None else (height, width)
    done = export_ensemble(load_ensemble(fitted, precision="32-true"), path, format, describe(card), fixed)
    agreement, console, unit = done.agreement, make_console(), TASKS[card.known_task].unit
    tried = " and ".join(f"{count} x {rows} x {columns}" for count, rows, columns in agreement.shapes)
    console.print(f"{path}: {done.size / 1e6:.1f} MB.")
    console.print(
        f"Compared with the ensemble on images of {tried} (images x rows x columns): probabilities differ by at most "
        f"{agreement.difference:.1e}, and {100 * agreement.equal:.2f} % of the {unit}s or more have the same class."
    )
    return 0


def describe(card: EnsembleCard) -> dict[str, str]:
    """What an exported file says about itself.

    Args:
        card: Of the ensemble.

    Returns:
        Text by key; lists and mappings as JSON.
    """
    members = [
        {"name": name, "architecture": kind} for name, kind in zip(card.members, card.architectures, strict=True)
    ]
    return {
        "muster.version": muster.__version__,
        "muster.date": now(),
        "muster.target": card.target,
        "muster.classes": _json(card.classes),
        "muster.colours": _json([hex_colour(index) for index in range(len(card.classes))]),
        "muster.licences": _json(card.licences),
        "muster.members": _json(members),
        "muster.image_size": str(card.image_size),
        "muster.input": "image: uint8 [batch, 3, height, width], RGB, as stored; resized and normalised inside",
        "muster.task": card.known_task,
        "muster.outputs": _outputs(TASKS[card.known_task]),
    }


def _outputs(task: Task) -> str:
    """What an export gives, in words."""
    if not task.is_pooled and not task.has_classes:
        numbers, whole = task.answer_names
        return f"{numbers}: float32 [batch, outputs, height, width]; {whole}: int32 [batch, height, width]"
    if not task.is_pooled:
        return (
            "probabilities: float32 [batch, classes, height, width]; classes: uint8 [batch, height, width], as indices"
        )
    if task.has_classes:
        return "probabilities: float32 [batch, classes]; classes: int64 [batch], as indices"
    return "probabilities: float32 [batch, classes]; classes: uint8 [batch, classes], 1 for those that an image has"


def require_replaceable(path: Path, file_format: FileFormat) -> None:
    """Check that writing a file replaces nothing but an older export.

    Args:
        path: The file; it may be missing.
        file_format: Its format.

    Raises:
        OutputError: If it is something else.
    """
    if path.is_dir():
        raise OutputError(
            f"{path} is a folder, but one file is written. Give a path that ends in {file_format.suffix}."
        )
    if path.suffix != file_format.suffix:
        raise OutputError(f"Expected --output to end in {file_format.suffix}, but got {path}.")
    if (path.parent / CARD).is_file():
        raise OutputError(
            f"{path.parent} is the folder of an ensemble, which holds nothing else. Give another --output."
        )
    require_our_file(path, lambda there: _is_export(there, file_format))


def _is_export(path: Path, file_format: FileFormat) -> bool:
    try:
        return "muster.version" in file_format.metadata(path)
    except Exception:  # a file of any kind may lie there, and each reader fails in its own way
        return False


def _default_output(ensemble: Path, target: str, file_format: FileFormat) -> Path:
    folder = run_folder(ensemble)
    if (folder / CARD).is_file():
        raise ConfigError(
            f"{ensemble} is an ensemble outside the folder of a run, where nothing else is written. Give --output."
        )
    return folder / f"{as_file_name(target)}{file_format.suffix}"


def _json(values: Sequence[object] | dict[str, str]) -> str:
    return json.dumps(values, ensure_ascii=False)
