"""What all writers have in common whose samples are image files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muster.commands.predictions.writer import PredictionWriter
from muster.data import IMAGE_SUFFIXES, list_images, unreadable_images
from muster.data.spec import RGB, TEXTS
from muster.errors import ConfigError, DatasetError
from muster.remote import fetched
from muster.tasks.task import TASKS
from muster.training.ensemble_card import EnsembleCard


class OfImages(PredictionWriter[Path]):
    """Writes predictions of image files."""

    @staticmethod
    def listed(place: Path, option: str, card: EnsembleCard) -> dict[str, Path]:
        """See :meth:`PredictionWriter.listed` and :func:`listed_images`."""
        files = listed_images(place, option)
        require_rgb(card, "Prediction of files")
        return files

    @staticmethod
    def passed_over(place: Path, samples: Mapping[str, Path]) -> list[str]:
        """See :meth:`PredictionWriter.passed_over`: images of kinds that are not read."""
        strange = [path for path in unreadable_images(place) if path.stem not in samples] if place.is_dir() else []
        return [f"{path} is of a kind that is not read. Convert it to PNG." for path in strange]

    def require_used(self) -> None:
        """See :meth:`PredictionWriter.require_used`: what is about objects."""
        self.settings.require_unused(
            ("nms", "least_score"), "the ensemble finds no objects that could overlap or have a score."
        )


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
