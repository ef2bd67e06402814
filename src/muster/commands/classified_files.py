"""What an ensemble that classifies whole images says of files: one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from muster.commands.prediction_files import PredictionSettings
from muster.data import read_image
from muster.errors import DatasetError
from muster.files import atomic_write
from muster.training.finetuned_ensemble import Ensemble

CLASSES = "classes.csv"


def classify_files(files: Mapping[str, Path], ensemble: Ensemble, output: Path) -> list[str]:
    """Write what is predicted of every image, such as its class and the probabilities of all, one row an image.

    Args:
        files: Images by what to call them.
        ensemble: In evaluation mode; it classifies images.
        output: Where ``classes.csv`` goes.

    Returns:
        What is wrong with images that cannot be read.
    """
    rows, problems = list[tuple[object, ...]](), list[str]()
    # A class may be called like one of the first columns, or like another class in other letters.
    columns = ["image", "file", *ensemble.task.in_words([0.0] * len(ensemble.classes), ensemble.classes)]
    for stem, path in files.items():
        try:
            probabilities = ensemble.classify(read_image(path))
        except DatasetError as error:
            problems.append(str(error))
            continue
        told = ensemble.task.in_words(probabilities.tolist(), ensemble.classes)
        rows.append((stem, str(path), *told.values()))
    table = pd.DataFrame(rows, columns=columns)
    with atomic_write(output / CLASSES) as partial:
        table.to_csv(partial, index=False)
    return problems


def require_no_maps(settings: PredictionSettings) -> None:
    """Refuse what only makes sense where every pixel is classified.

    Raises:
        ConfigError: If it was asked for.
    """
    settings.require_unused(
        settings.all_but("overlays"), "the ensemble has one class for a whole image, so there are no maps."
    )
