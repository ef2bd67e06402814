from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from muster.data.spec import VOID, Sample
from muster.data.statistics import ChannelStatistics
from muster.data.transforms import prepare_image
from muster.models import build_model
from muster.pool import Pool, write_member
from muster.report import choose_images, class_counts, make_report_image, selection_images, shrink
from muster.selection.image_predictions import ProbedFeatures, TranslatedClasses
from tests.helpers import shown, upsampled
from tests.report.made_up import HEIGHT, WIDTH, make_card, make_selection, make_target, read_sample


def test_class_counts_leave_void_out() -> None:
    counts = class_counts(make_target().train, 4)
    assert counts.shape == (6, 4)
    assert counts.sum(axis=1).tolist() == [HEIGHT * WIDTH - 16] * 6
    assert (counts > 0).sum(axis=1).tolist() == [1, 2, 3, 4, 1, 2]


def test_chosen_images_show_many_classes() -> None:
    counts = class_counts(make_target().train, 4)
    assert choose_images(counts, 1, seed=0) == [3]
    assert choose_images(counts, 2, seed=0) == [2, 3]
    assert choose_images(counts, 99, seed=0) == list(range(6))


def test_chosen_images_complement_each_other() -> None:
    counts = np.array([[50, 50, 0, 0, 0], [50, 50, 0, 0, 0], [0, 0, 50, 50, 50], [0, 0, 0, 0, 9]])
    for seed in range(5):
        first, second = choose_images(counts, 2, seed)
        assert second == 2
        assert first in (0, 1)
    assert choose_images(counts, 2, seed=3) == choose_images(counts, 2, seed=3)


def test_shrink_keeps_labels_and_shape() -> None:
    image = torch.zeros((3, 600, 960), dtype=torch.uint8)
    mask = torch.full((600, 960), VOID, dtype=torch.uint8)
    mask[:, :480] = 2
    small = shrink(Sample("a", image, mask))
    assert small.image.shape == (3, 300, 480)
    assert small.mask.shape == (300, 480)
    assert small.mask.unique().tolist() == [2, VOID]
    assert shrink(read_sample("i 0")).image.shape == (3, HEIGHT, WIDTH)


def test_image_by_hand() -> None:
    mask = torch.tensor([[0, 1, VOID]], dtype=torch.uint8)
    sample = Sample("a", torch.zeros((3, 1, 3), dtype=torch.uint8), mask)
    first = torch.tensor([[[0.9, 0.8, 0.5]], [[0.1, 0.2, 0.5]]])
    second = torch.tensor([[[0.3, 0.0, 0.1]], [[0.7, 1.0, 0.9]]])
    report_image = make_report_image(sample, {"first": first, "second": second}, (first + second) / 2)
    assert report_image.predictions["first"].tolist() == [[0, 0, 0]]
    assert report_image.predictions["second"].tolist() == [[1, 1, 1]]
    assert report_image.predictions["ensemble"].tolist() == [[0, 1, 1]]
    torch.testing.assert_close(report_image.confidence, torch.tensor([[0.6, 0.6, torch.nan]]), equal_nan=True)


def test_selection_images_show_what_the_eeps_say(tmp_path: Path) -> None:
    selection = make_selection(names=("a", "b"), size=2)
    for seed, name in enumerate(("a", "b")):
        model = build_model("small_fpn", 2, seed=seed)
        write_member(tmp_path / "members" / name, model, make_card(name), {"nothing": torch.zeros(1)})
    # Source class 0 means target class 2 and source class 1 target class 0, for both members.
    table = torch.tensor([[0.0, 1.0], [0, 0], [1, 0], [0, 0]], dtype=torch.float64)
    selection = replace(selection, on_images={name: TranslatedClasses(table) for name in "ab"})
    pool, target = Pool.open(tmp_path), make_target()
    report_images = selection_images(selection, pool, target, count=2)
    assert [report_image.identifier for report_image in report_images] == ["img <x> 2", "img <x> 3"]

    statistics = ChannelStatistics((0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
    image = prepare_image(read_sample("x 3").image, shown(statistics, 32))[None]
    with torch.no_grad():
        said = [pool[name].load_model()(image).softmax(dim=1) for name in ("a", "b")]
    large = [upsampled(p, image.shape[2:], (HEIGHT, WIDTH))[0].float() for p in said]
    report_image = report_images[1]
    for name, probabilities in zip(("a", "b"), large, strict=True):
        expected = torch.where(probabilities[1] >= probabilities[0], 0, 2).to(torch.uint8)
        assert torch.equal(report_image.predictions[name], expected)
    known = report_image.truth == 2
    torch.testing.assert_close(report_image.confidence[known], ((large[0] + large[1]) / 2)[0][known])
    assert report_image.confidence.isnan().equal(report_image.truth == VOID)
    assert selection_images(replace(selection, on_images={}), pool, target) == []


def test_a_linear_probe_is_shown_by_the_fit_that_did_not_see_the_image() -> None:
    """Interpolated features and a classifier, pixel by pixel, as the probe set is read."""
    model = build_model("small_fpn", 2, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((1, 3, 32, 64), generator=generator)
    classifiers = torch.randn((2, 4, model.feature_channels + 1), generator=generator, dtype=torch.float64)
    probed = ProbedFeatures(classifiers, {3: 1, 5: 0})
    with torch.no_grad():
        features = model.features(image).double()
    large = torch.nn.functional.interpolate(features, size=(40, 80), mode="bilinear")[0].flatten(1).T
    for place, which in probed.readers.items():
        weights, offsets = classifiers[which, :, :-1], classifiers[which, :, -1]
        expected = (large @ weights.T + offsets).softmax(dim=1).T.reshape(4, 40, 80).float()
        torch.testing.assert_close(probed.predict(model, image, place, (40, 80)), expected)
