"""`inference_seconds`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from muster.errors import ConfigError
from muster.models import Segmenter, build_model
from muster.models.segmenter import Body
from muster.probe.timing import inference_seconds


class Sleeper(Body):
    """Takes as long as it is told, and remembers what it was shown."""

    def __init__(self, naps: Iterator[float], minimum_side: int = 32) -> None:
        super().__init__(feature_channels=3, minimum_side=minimum_side)
        self.naps, self.shapes, self.modes = naps, [], []

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        self.shapes.append(tuple(images.shape))
        self.modes.append(self.training)
        time.sleep(next(self.naps, 0.0))
        return [[images]]


def sleeper(naps: list[float], minimum_side: int = 32) -> Segmenter:
    """A model that sleeps that long, pass after pass; the first pass is its construction."""
    model = Segmenter("sleeper", Sleeper(iter([0.0, *naps]), minimum_side), 2)
    model.body.shapes.clear()
    model.body.modes.clear()
    return model


def test_is_the_median_after_warming_up() -> None:
    # Two slow passes to warm up, then one slow among three: neither the first nor the mean counts.
    model = sleeper([0.4, 0.4, 0.05, 0.4, 0.05])
    assert 0.05 <= inference_seconds(model, 64, repetitions=3) < 0.25
    assert len(model.body.shapes) == 5


@pytest.mark.parametrize(
    ("size", "minimum", "shown"),
    [
        (64, 32, (64, 64)),
        (100, 32, (128, 128)),
        ((48, 96), 32, (64, 96)),
        (10, 32, (32, 32)),
        ((64, 128), 96, (96, 128)),
    ],
)
def test_one_image_padded_to_a_size_that_the_model_can_take(
    size: int | tuple[int, int], minimum: int, shown: tuple[int, int]
) -> None:
    model = sleeper([], minimum)
    inference_seconds(model, size, repetitions=1)
    assert set(model.body.shapes) == {(1, 3, *shown)}


@pytest.mark.parametrize("training", [True, False])
def test_measures_prediction_and_restores_the_mode(training: bool) -> None:
    model = sleeper([]).train(training)
    inference_seconds(model, 32, "cpu", repetitions=1)
    assert model.training is training
    assert set(model.body.modes) == {False}


def test_mode_is_restored_after_a_failure() -> None:
    model = build_model("small_fpn", 3).train()
    model.head.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        inference_seconds(model, 64)
    assert model.training


def test_larger_images_take_longer() -> None:
    model = build_model("small_fpn", 3)
    assert inference_seconds(model, 512, repetitions=3) > inference_seconds(model, 32, repetitions=3) > 0


def test_bad_arguments() -> None:
    model = sleeper([])
    with pytest.raises(ValueError, match=r"`repetitions` to be at least 1, but got 0"):
        inference_seconds(model, 64, repetitions=0)
    with pytest.raises(ConfigError, match=r"positive sizes, but got height 0"):
        inference_seconds(model, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_waits_for_a_gpu() -> None:
    """Passes are queued in microseconds; one that is not waited for would seem to take no longer on a large image."""
    model = build_model("small_fpn", 3)
    small, large = (inference_seconds(model, side, "cuda", repetitions=5) for side in (32, 2048))
    assert large > 3 * small
