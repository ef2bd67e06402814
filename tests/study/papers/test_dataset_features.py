"""Features of datasets' images by one network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from muster.data import ImageSize, Preprocessing, channel_statistics
from muster.data.transforms import prepare_image
from muster.models.padding import spatial_mean
from muster.study.papers import dataset_features, domain_distances
from tests.helpers import make_member, make_target


def test_they_are_the_spatial_means_of_the_last_map(tmp_path: Path) -> None:
    member = make_member(tmp_path, "a", 0)
    datasets = {"near": make_target(4, name="near"), "far": make_target(6, name="far", void=("02",))}
    found = dataset_features(member, datasets, 48, images=6)
    assert {name: len(rows) for name, rows in found.items()} == {"near": 4, "far": 5}  # one is void
    split = datasets["near"].train
    shown = Preprocessing(channel_statistics(split), ImageSize.of(48))
    model = member.load_model()
    for place in range(4):
        image = prepare_image(split[place].image, shown)
        with torch.no_grad():
            maps = model.features(image[None])
        slow = spatial_mean(maps, model.part_of(image[None]))[0]
        np.testing.assert_allclose(found["near"][place], slow.numpy(), rtol=1e-4, atol=1e-5)
    assert (domain_distances(found)["distance"] > 0).all()


def test_the_same_images_are_drawn_every_time(tmp_path: Path) -> None:
    member, datasets = make_member(tmp_path, "a", 0), {"x": make_target(6)}
    first, again = (dataset_features(member, datasets, 32, images=3, seed=1)["x"] for _ in range(2))
    assert first == pytest.approx(again)
