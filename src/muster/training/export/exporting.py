"""Write an ensemble as one file, and compare what the file does with what the ensemble does."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from muster.errors import MusterError
from muster.files import atomic_write
from muster.training.export.file_format import FORMATS, FileFormat
from muster.training.export.graph import EnsembleGraph, preprocessings_of, shapes_to_check, trace
from muster.training.finetuned_ensemble import Ensemble

MOST_DIFFERENCE = 1e-4
"""A probability of the file may be so far from the ensemble's."""

EQUAL_SHARE = 0.999
"""So many of the pixels must have the ensemble's class: where two classes are as likely, rounding decides."""


class ExportError(MusterError):
    """An ensemble cannot be exported, or its export is not what the ensemble is."""


@dataclass(frozen=True)
class Agreement:
    """How the probabilities and classes of a file compare with the ensemble's.

    Attributes:
        difference: The largest difference between two probabilities.
        equal: Share of pixels, or of whole images, with the same class, 0 to 1, of the images where it is smallest.
        shapes: Numbers of images, rows and columns that were tried.
    """

    difference: float
    equal: float
    shapes: tuple[tuple[int, int, int], ...]

    @property
    def holds(self) -> bool:
        """Whether the file can stand for the ensemble."""
        return self.difference <= MOST_DIFFERENCE and self.equal >= EQUAL_SHARE


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared.

    Attributes:
        path: The file.
        size: Its bytes.
        agreement: How it compares with the ensemble.
    """

    path: Path
    size: int
    agreement: Agreement


def export_ensemble(
    ensemble: Ensemble,
    path: Path,
    file_format: str = "onnx",
    metadata: dict[str, str] | None = None,
    fixed_size: tuple[int, int] | None = None,
) -> Exported:
    """Write an ensemble as one file that needs nothing of muster.

    The file takes stored images, uint8 ``[batch, 3, height, width]`` RGB, and gives class probabilities, float32
    ``[batch, classes, height, width]``, and class indices, uint8 ``[batch, height, width]``; of whole images ``[batch,
    classes]``, and indices as int64 ``[batch]``, or where an image can have several classes uint8 ``[batch, classes]``,
    1 for those that it has.

    Args:
        ensemble: On the CPU; it is exported, and compared, in single precision.
        path: The file to write. It appears if it agrees with the ensemble, and not otherwise.
        file_format: One of :data:`FORMATS`.
        metadata: Text to put into the file.
        fixed_size: Rows and columns of the only images that it takes; by default it takes images of any size.

    Returns:
        What was written, and how it agrees.

    Raises:
        ConfigError: If the format is not known.
        ExportError: If a package is missing, a member cannot be exported, or the file does not agree with the ensemble.
    """
    if ensemble.task.answers(_of_one_place(ensemble)) is None:
        raise ExportError(
            f"Only ensembles that predict classes can be exported so far, and this one is for {ensemble.task.name}. "
            f"Predict with it in Python: muster.load_ensemble(PATH)."
        )
    chosen = FORMATS[file_format]
    require_installed(chosen)
    shapes = shapes_to_check(preprocessings_of(ensemble), fixed_size)
    with atomic_write(path) as partial, _quiet(), _in_single_precision(ensemble):
        with _explained(ensemble, file_format, fixed_size):
            program = trace(EnsembleGraph(ensemble), shapes[0][1:], fixed_size is not None)
            chosen.write(program, partial, metadata or {}, ensemble.task.answer_names)
        agreement = compare(ensemble, chosen, partial, shapes)
        unit = ensemble.task.unit
        if not agreement.holds:
            raise ExportError(
                f"The {file_format} file does not agree with the ensemble: probabilities differ by up to "
                f"{agreement.difference:.2g} ({MOST_DIFFERENCE:g} is accepted), and {100 * agreement.equal:.2f} % of "
                f"the {unit}s have the same class ({100 * EQUAL_SHARE:g} % are needed). It was removed."
            )
        size = partial.stat().st_size
    return Exported(path, size, agreement)


def _of_one_place(ensemble: Ensemble) -> Tensor:
    """Predictions of the shape that :meth:`muster.tasks.task.Task.answers` takes."""
    return torch.zeros(1, len(ensemble.classes), *(() if ensemble.is_pooled else (1, 1)))


def require_installed(file_format: FileFormat) -> None:
    """Check that what a format needs is there.

    Raises:
        ExportError: If it is not.
    """
    missing = [name for name in file_format.needs if find_spec(name) is None]
    if missing:
        raise ExportError(f'{", ".join(missing)} missing. Install with: pip install "muster[export]"')


def compare(ensemble: Ensemble, file_format: FileFormat, path: Path, shapes: list[tuple[int, int, int]]) -> Agreement:
    """Run a file and the ensemble on the same images.

    Args:
        ensemble: In single precision, on the CPU.
        file_format: Of the file.
        path: The file.
        shapes: Numbers of images, rows and columns.

    Returns:
        How they agree.
    """
    segment = file_format.open(path)
    difference, equal = 0.0, 1.0
    for seed, shape in enumerate(shapes):
        images = _made_up_images(shape, seed)
        wanted = ensemble(ensemble.prepare(images), (1, 1) if ensemble.is_pooled else shape[1:])
        wanted = wanted[:, :, 0, 0] if ensemble.is_pooled else wanted
        probabilities, classes = (torch.from_numpy(values) for values in segment(images))
        answers = ensemble.task.answers(wanted)
        assert answers is not None  # see :func:`export_ensemble`
        if probabilities.shape != wanted.shape:
            raise ExportError(
                f"The file gives probabilities of shape {list(probabilities.shape)} for images of {list(shape)}, but "
                f"the ensemble gives {list(wanted.shape)}. It was removed."
            )
        # NaN anywhere makes the difference NaN, which is not small.
        relative = (probabilities - wanted).abs() / wanted.abs().clamp(min=1)  # of numbers beyond 1, as depths are
        difference = max(difference, float(relative.nan_to_num(torch.inf).max()))
        same = (classes.long() - answers.long()).abs() <= ensemble.task.answer_slack
        equal = min(equal, float(same.float().mean()))
    return Agreement(difference, equal, tuple(shapes))


def _made_up_images(shape: tuple[int, int, int], seed: int) -> UInt8[Tensor, "b 3 h w"]:
    """Patches of colour with some noise: flat places, edges and detail."""
    count, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(count, 3, 5, 7, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(patches, (height, width), mode="bilinear")
    noise = torch.randn(count, 3, height, width, generator=generator) * 20
    return (smooth + noise).clamp(0, 255).to(torch.uint8)


@contextmanager
def _in_single_precision(ensemble: Ensemble) -> Iterator[None]:
    before, ensemble.precision = ensemble.precision, "32-true"
    try:
        yield
    finally:
        ensemble.precision = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of their own inner workings, and print the whole graph where they cannot follow a member."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _newer_torch() -> str:
    """Advice for releases of torch that follow few networks for images of any size."""
    old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11)
    return f" torch 2.11 or newer writes more for any size (this is {torch.__version__})." if old else ""


@contextmanager
def _explained(ensemble: Ensemble, file_format: str, fixed_size: tuple[int, int] | None) -> Iterator[None]:
    """Say which ensemble cannot be exported, and what to do."""
    try:
        yield
    except (MusterError, OSError, MemoryError):
        raise
    except Exception as error:  # torch raises whatever the operation at hand raises
        kinds = ", ".join(dict.fromkeys(str(member.architecture) for member in ensemble.members))
        advice = (
            "Try the other format."
            if fixed_size
            else "Networks that pool to a fixed grid or shift windows can be written for images of one size: --height "
            f"ROWS --width COLUMNS.{_newer_torch()}"
        )
        cause = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ExportError(
            f"The ensemble ({kinds}) cannot be written as {file_format}. {advice} (torch says: {cause})"
        ) from error
