"""Networks for objects learn the images that they are shown by heart: targets, losses and decoding fit together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from muster.data.boxes import objects_truth
from muster.models import build_model
from muster.tasks.detection import DETECTION
from muster.tasks.found_objects import FindsObjects
from muster.tasks.keypoints import KEYPOINTS

SIDE, STEPS = 64, 80


def drawn(has_points: bool) -> tuple[Tensor, Tensor]:
    """Four images of noise, each with one square of each of two colours; at a point of it is a dot."""
    generator = np.random.default_rng(0)
    images, truths = [], []
    for _ in range(4):
        pixels, rows = generator.normal(0, 0.3, (3, SIDE, SIDE)), list[tuple[float, ...]]()
        for label, across in enumerate((0, 32)):
            side = int(generator.integers(12, 24))
            left, top = across + int(generator.integers(0, 32 - side)), int(generator.integers(0, SIDE - side))
            pixels[label, top : top + side, left : left + side] += 2
            pixels[2, top + 2 : top + 6, left + 2 : left + 6] += 3
            points = (float(side * side), left + 4.0, top + 4.0, 2.0, left + side / 2, top + side - 2.0, 1.0)
            row = left, top, left + side, top + side, 0 if has_points else label, 0
            rows.append((*map(float, row), *(points if has_points else ())))
        images.append(torch.from_numpy(pixels).float())
        truths.append(objects_truth((SIDE, SIDE), rows, (0.08, 0.08) if has_points else ()))
    return torch.stack(images), torch.stack(truths)


@pytest.mark.parametrize("task", [DETECTION, KEYPOINTS], ids=lambda task: task.name)
def test_a_network_learns_four_images_by_heart(task: FindsObjects) -> None:
    images, truth = drawn(task.has_points)
    model = task.fitted(build_model("small_fpn", 2, seed=0)).train()
    model.replace_head(2, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    falls = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        task.loss(model(images), truth, task.losses[0]).backward()
        optimizer.step()
        falls.step()
    with torch.no_grad():
        found = task.decide(task.predictions(model.eval()(images), (SIDE, SIDE)))
    assert task.result_of(task.total(found, truth, 2)) > 0.9
