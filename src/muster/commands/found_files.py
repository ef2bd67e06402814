"""What a network that finds objects says of files: one file in COCO's form, and pictures with boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from muster.commands.prediction_files import OVERLAYS, PredictionSettings
from muster.data import read_image
from muster.data.boxes import FOUND_POINTS, LABEL, SCORE
from muster.errors import DatasetError
from muster.files import write_bytes, write_text
from muster.image_files import encoded
from muster.tasks.object_pictures import draw_objects
from muster.training.finetuned_ensemble import Ensemble

DETECTIONS = "detections.json"

LEAST_PICTURE = 384
"""Pictures of smaller images are enlarged by a whole number, so that what is written in them can be read."""

_KEPT = 0.01
"""Objects of a smaller score are not written: there are always some, up to a hundred an image."""


def find_in_files(
    files: Mapping[str, Path], ensemble: Ensemble, output: Path, settings: PredictionSettings
) -> list[str]:
    """Write what is found in every image.

    Args:
        files: Images by what to call them.
        ensemble: In evaluation mode; it finds objects.
        output: Where ``detections.json`` and ``overlays`` go.
        settings: What is written.

    Returns:
        What is wrong with images that cannot be read.
    """
    names = ensemble.task.object_classes(ensemble.classes)
    images, annotations, problems = list[dict[str, Any]](), list[dict[str, Any]](), list[str]()
    for stem, path in files.items():
        try:
            image = read_image(path)
        except DatasetError as error:
            problems.append(str(error))
            continue
        found = ensemble.find(image, settings.nms)
        number = len(images) + 1
        images.append({"id": number, "file_name": str(path), "height": image.shape[1], "width": image.shape[2]})
        for row in found[found[:, SCORE] >= _KEPT].tolist():
            annotations.append({"id": len(annotations) + 1, "image_id": number, **_annotation(row)})
        if settings.overlays:
            shown = found[found[:, SCORE] >= settings.least_score]
            _write_picture(output / OVERLAYS / f"{stem}.png", image, shown, names)
    categories: list[dict[str, Any]] = [{"id": index, "name": name} for index, name in enumerate(names, start=1)]
    if names != ensemble.classes:
        categories[0]["keypoints"] = list(ensemble.classes)
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_text(output / DETECTIONS, json.dumps(content, indent=1) + "\n")
    return problems


def _annotation(row: Sequence[float]) -> dict[str, Any]:
    left, top, right, bottom = (round(value, 2) for value in row[:4])
    found: dict[str, Any] = {
        "category_id": int(row[LABEL]) + 1,
        "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
        "area": round((right - left) * (bottom - top), 2),
        "iscrowd": 0,
        "score": round(row[SCORE], 5),
    }
    if points := row[FOUND_POINTS:]:
        known = [(round(x, 2), round(y, 2), 2) for x, y in zip(points[::2], points[1::2], strict=True)]
        found |= {"keypoints": [value for point in known for value in point], "num_keypoints": len(known)}
    return found


def _write_picture(path: Path, image: Tensor, found: Tensor, names: Sequence[str]) -> None:
    times = max(1, -(-LEAST_PICTURE // max(image.shape[1:])))
    larger = image[:3].repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
    moved = found.clone()
    moved[:, :4] *= times
    moved[:, FOUND_POINTS:] *= times
    drawn = draw_objects(larger, moved, names, points=found.shape[1] > FOUND_POINTS)
    write_bytes(path, encoded(Image.fromarray(drawn.permute(1, 2, 0).contiguous().numpy()), "PNG"))


def require_lists(settings: PredictionSettings) -> None:
    """Refuse what only makes sense where there are maps.

    Raises:
        ConfigError: If it was asked for.
    """
    settings.require_unused(
        settings.all_but("overlays", "nms", "least_score"),
        "the model gives a list of objects for each image, so there are no maps.",
    )


def require_objects(settings: PredictionSettings) -> None:
    """Refuse what only makes sense where there are objects.

    Raises:
        ConfigError: If it was asked for.
    """
    settings.require_unused(("nms", "least_score"), "the ensemble finds no objects that could overlap or have a score.")
