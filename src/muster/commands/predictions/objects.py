"""The objects that are found in images: one file in COCO's form, and pictures with boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from muster.commands.predictions.masks import OVERLAYS
from muster.commands.predictions.of_images import OfImages
from muster.commands.predictions.settings import PredictionSettings
from muster.commands.predictions.writer import WRITERS
from muster.data import read_image
from muster.data.boxes import FOUND_POINTS, LABEL, SCORE
from muster.files import write_bytes, write_text
from muster.image_files import encoded
from muster.tasks.object_pictures import draw_enlarged
from muster.tasks.task import Task
from muster.training.finetuned_ensemble import Ensemble

DETECTIONS = "detections.json"

_KEPT = 0.01
"""Objects of a smaller score are not written: there are always some, up to a hundred an image."""


class Objects(OfImages):
    """Writes what is found in every image."""

    def __init__(self, ensemble: Ensemble, output: Path, settings: PredictionSettings) -> None:
        """See :class:`PredictionWriter`."""
        super().__init__(ensemble, output, settings)
        self._images, self._annotations = list[dict[str, Any]](), list[dict[str, Any]]()
        self._names = ensemble.task.object_classes(ensemble.classes)

    @staticmethod
    def takes(task: Task) -> bool:
        """See :meth:`PredictionWriter.takes`."""
        return task.finds_objects

    @property
    def parts(self) -> tuple[str, ...]:
        """See :meth:`PredictionWriter.parts`."""
        return (DETECTIONS, OVERLAYS) if self.settings.overlays else (DETECTIONS,)

    def require_used(self) -> None:
        """See :meth:`PredictionWriter.require_used`: what only makes sense where there are maps."""
        self.settings.require_unused(
            self.settings.all_but("overlays", "nms", "least_score"),
            "the model gives a list of objects for each image, so there are no maps.",
        )

    def add(self, name: str, sample: Path) -> bool:
        """See :meth:`PredictionWriter.add`."""
        image = read_image(sample)
        found = self.ensemble.find(image, self.settings.nms)
        number = len(self._images) + 1
        self._images.append({
            "id": number, "file_name": str(sample), "height": image.shape[1], "width": image.shape[2],
        })  # fmt: skip
        for row in found[found[:, SCORE] >= _KEPT].tolist():
            self._annotations.append({"id": len(self._annotations) + 1, "image_id": number, **_annotation(row)})
        if self.settings.overlays:
            shown = found[found[:, SCORE] >= self.settings.least_score]
            _write_picture(self.output / OVERLAYS / f"{name}.png", image, shown, self._names)
        return False

    def finish(self) -> None:
        """Write ``detections.json``, and what classes are called."""
        categories: list[dict[str, Any]] = [
            {"id": index, "name": name} for index, name in enumerate(self._names, start=1)
        ]
        if self._names != self.ensemble.classes:
            categories[0]["keypoints"] = list(self.ensemble.classes)
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        write_text(self.output / DETECTIONS, json.dumps(content, indent=1) + "\n")
        super().finish()


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
    drawn = draw_enlarged(image[:3], found, names, points=found.shape[1] > FOUND_POINTS)
    write_bytes(path, encoded(Image.fromarray(drawn.permute(1, 2, 0).contiguous().numpy()), "PNG"))


WRITERS.add("objects", Objects)
