"""Detection: heads, targets, losses, what is found and what it comes to, each against a slow version or by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from muster.data import VOID, DatasetSpec, Preprocessing, Sample, Split
from muster.data.boxes import CROWD, MOST_OBJECTS, PASSED_OVER, ObjectCut, mirrored_points, objects_truth
from muster.data.preprocessing import ImageSize
from muster.data.statistics import ChannelStatistics
from muster.data.transforms import TrainingTransform
from muster.models import build_model
from muster.models.centre_net import HEADS, make_heads, with_heads
from muster.models.model_source import rebuild
from muster.models.padding import Part
from muster.models.pooled import Pooled
from muster.models.sources.backbone import Backbone
from muster.probe import draw_probe_set
from muster.tasks.centres import centre_targets, find_peaks, radius_of
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.depth import DEPTH
from muster.tasks.detection import DETECTION
from muster.tasks.found_objects import suppress
from muster.tasks.loss import LossOptions
from muster.tasks.precision_recall import average_precision
from muster.tasks.segmentation import SEGMENTATION

IMAGE = (40, 60)  # rows, columns


def truth_of(*boxes: Sequence[float], size: tuple[int, int] = IMAGE) -> Tensor:
    """Boxes with class and, if it is given, why they are ignored."""
    return objects_truth(size, [tuple(map(float, (*box, 0)[:6])) for box in boxes])


@pytest.mark.parametrize(("kind", "classes", "expected"), [("boxes", 20, 2_600_728), ("points", 17, 10_088_506)])
def test_heads_at_720_channels_have_the_papers_numbers(kind: str, classes: int, expected: int) -> None:
    """M21, table 2: 2.4M for detection (its description gives 2.60M) and 10M for keypoints (10.09M)."""
    with torch.device("meta"):
        neck, heads = make_heads(720, classes, kind)
    assert sum(each.numel() for part in (neck, heads) for each in part.parameters()) == expected


def test_heads_go_on_any_network_and_are_built_again() -> None:
    inner = build_model("small_fpn", 4, seed=3)
    images = torch.randn(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    features, depth = inner.eval().features(images), inner.depth
    of_whole = Pooled(inner).features(images)
    model = with_heads(Pooled(inner), "boxes", seed=1).eval()
    assert torch.equal(model.features(images), features)
    assert model(images).shape == (2, 8, *features.shape[-2:])
    assert model.read(images)[0].shape == (2, 4, *features.shape[-2:])
    assert model.depth == depth + 3
    again = rebuild(model.blueprint, 4)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(images), model(images))
    assert with_heads(model, "boxes") is model
    whole = model.state_dict()
    for task in (SEGMENTATION, DEPTH, CLASSIFICATION):  # the rest is a source for them like any
        other = task.fitted(model)
        assert torch.equal(other.features(images), of_whole if task is CLASSIFICATION else features)
        other.replace_head(5, seed=2)
        built = rebuild(other.blueprint, 5)
        built.load_state_dict(other.state_dict())
        assert torch.equal(built.eval()(images), other.eval()(images))
    assert model.state_dict().keys() == whole.keys()  # the detector is as it was
    points = with_heads(model, "points")
    assert sum(HEADS["points"].outputs(4)) == 19 == points.eval()(images).shape[1]
    before = torch.random.get_rng_state()
    model.replace_head(2, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model(images).shape[1] == 6
    heat = model(images)[:, :2].sigmoid()
    assert 0.01 < float(heat.detach().mean()) < 0.4  # most places are no centre


def test_a_radius_keeps_the_overlap() -> None:
    sizes = torch.tensor([[7.0, 3.0], [20.0, 20.0], [1.0, 9.0]])
    for (width, height), radius in zip(sizes.tolist(), radius_of(sizes).tolist(), strict=True):
        shifted = (width - radius) * (height - radius)
        overlaps = [
            shifted / (2 * width * height - shifted),
            (width - 2 * radius) * (height - 2 * radius) / (width * height),
            width * height / ((width + 2 * radius) * (height + 2 * radius)),
        ]
        assert min(overlaps) == pytest.approx(0.7, abs=1e-4)


def slow_heat(truth: Tensor, classes: int, shape: tuple[int, int], scale: tuple[float, float]) -> np.ndarray:
    heat = np.zeros((classes, *shape))
    for left, top, right, bottom, label, ignored in truth[1:].tolist():
        if label < 0 or ignored:
            continue
        x, y = (left + right) / 2 * scale[0], (top + bottom) / 2 * scale[1]
        size = torch.tensor([(right - left) * scale[0], (bottom - top) * scale[1]])
        radius = math.floor(float(radius_of(size)))
        sigma = (2 * radius + 1) / 6
        for row in range(shape[0]):
            for column in range(shape[1]):
                down, across = row - math.floor(y), column - math.floor(x)
                if max(abs(down), abs(across)) <= radius:
                    value = math.exp(-(down**2 + across**2) / (2 * sigma**2))
                    heat[int(label), row, column] = max(heat[int(label), row, column], value)
    return heat


BOXES = (
    (2.0, 3.0, 40.0, 33.0, 0),
    (10.0, 8.0, 38.0, 30.0, 0),
    (50.0, 1.0, 59.0, 12.0, 1),
    (0.0, 20.0, 20.0, 40.0, 1, CROWD),
)


@pytest.mark.parametrize("part", [None, Part(40, 60, 64, 64)])
def test_the_loss_is_that_of_the_equations(part: Part | None) -> None:
    truth, shape = truth_of(*BOXES)[None], (16, 16)
    scale = (16 / 60, 16 / 40) if part is None else (16 / 64, 16 / 64)
    scores = torch.randn(1, 6, *shape, generator=torch.Generator().manual_seed(2)).requires_grad_()
    heat = slow_heat(truth[0], 2, shape, scale)
    targets = centre_targets(truth, 2, shape, part)
    assert np.allclose(targets.heat[0].numpy(), heat, atol=1e-6)
    said, total = scores.detach()[0].double().numpy(), 0.0
    for label, row, column in np.ndindex(2, *shape):
        p, y = 1 / (1 + math.exp(-said[label, row, column])), heat[label, row, column]
        in_crowd = label == 1 and row >= math.floor(20 * scale[1]) and row < math.ceil(40 * scale[1])
        in_crowd &= column < math.ceil(20 * scale[0])
        if y == 1:
            total -= (1 - p) ** 2 * math.log(p)
        elif not in_crowd:
            total -= (1 - y) ** 4 * p**2 * math.log(1 - p)
    for left, top, right, bottom, _ in BOXES[:3]:
        x, y = (left + right) / 2 * scale[0], (top + bottom) / 2 * scale[1]
        at = said[2:, math.floor(y), math.floor(x)]
        total += abs(at[0] - x % 1) + abs(at[1] - y % 1)
        total += 0.1 * (abs(at[2] - (right - left) * scale[0]) + abs(at[3] - (bottom - top) * scale[1]))
    loss = DETECTION.loss(scores, truth, "centres", LossOptions(part=part))
    assert float(loss.detach()) == pytest.approx(total / 3, rel=1e-4)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    nothing = DETECTION.loss(scores, truth_of()[None], "centres")
    assert nothing.isfinite()
    assert nothing > 0  # heat where there is nothing is wrong


def maps_saying(truth: Tensor, classes: int, shape: tuple[int, int], part: Part | None) -> Tensor:
    """Scores of a network that knows the truth."""
    targets = centre_targets(truth, classes, shape, part)
    scores = torch.cat([targets.heat.clamp(1e-4, 1 - 1e-4).logit(), torch.zeros(len(truth), 4, *shape)], dim=1)
    for image, place in targets.has.nonzero().tolist():
        cell = int(targets.places[image, place])
        row, column = divmod(cell, shape[1])
        scores[image, -4:-2, row, column] = targets.offsets[image, place]
        scores[image, -2:, row, column] = targets.sizes[image, place]
    return scores


@pytest.mark.parametrize("part", [None, Part(40, 60, 64, 64)])
def test_what_a_perfect_network_says_is_the_truth(part: Part | None) -> None:
    boxes = [(2.0, 3.0, 21.0, 33.0, 0), (30.0, 8.0, 58.0, 30.0, 0), (50.0, 1.0, 59.0, 12.0, 1)]
    truth = truth_of(*boxes)[None]
    found = DETECTION.predictions(maps_saying(truth, 2, (16, 16), part), IMAGE, part)
    assert found.shape == (1, 6, 100, 1)
    sure = found[0, :, found[0, 4, :, 0] > 0.9, 0].T
    assert sorted(map(tuple, sure[:, [0, 1, 2, 3, 5]].round(decimals=3).tolist())) == sorted(boxes)
    assert DETECTION.places_of(truth) == IMAGE
    tally = DETECTION.total(DETECTION.decide(found), truth, 2)
    assert DETECTION.result_of(tally) == pytest.approx(1)
    assert DETECTION.units_of_outputs(tally) == (2, 1)
    assert not DETECTION.total(found, DETECTION.without_truth(truth), 2).any()


def test_peaks_are_hotter_than_their_neighbours_and_lie_in_the_image() -> None:
    heat = torch.zeros(1, 2, 4, 6)
    heat[0, 0, 1, 1], heat[0, 0, 1, 2], heat[0, 1, 1, 2], heat[0, 0, 3, 5] = 0.9, 0.8, 0.7, 1.0
    peaks = find_peaks(heat, Part(3, 5, 4, 6), count=3)
    assert peaks.scores[0].tolist() == pytest.approx([0.9, 0.7, 0.0])
    assert peaks.classes[0].tolist()[:2] == [0, 1]
    assert peaks.cells[0].tolist()[:2] == [[1, 1], [2, 1]]
    assert len(find_peaks(heat).scores[0]) == 48  # fewer places than are wanted


def test_suppression_leaves_out_what_a_hotter_box_covers() -> None:
    rows = [[0.0, 0, 10, 10, 0.5, 0], [1, 0, 11, 10, 0.9, 0], [0, 0, 10, 10, 0.4, 1], [20, 0, 30, 10, 0.2, 0]]
    found = torch.tensor([*rows, [0, 0, 9, 9, 0, 0]]).T
    assert suppress(found, 0.3)[4].tolist() == pytest.approx([0.9, 0.4, 0.2])
    assert suppress(found, 0.95)[4].tolist() == pytest.approx([0.9, 0.5, 0.4, 0.2])


def drawn(images: int, seed: int, classes: int = 3) -> tuple[Tensor, list[Tensor]]:
    """Found and true boxes: some right, some moved, some invented; crowds and ones that are passed over."""
    generator = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(images):
        count = int(generator.integers(0, 8))
        corners, sides = generator.uniform(0, 60, (count, 2)), generator.uniform(5, 40, (count, 2))
        boxes = np.concatenate([corners, corners + sides], axis=1)
        labels = generator.integers(0, classes - 1, count)  # of the last class there is none
        ignored = generator.choice([0, 0, 0, 0, 0, CROWD], count)
        truths.append(
            truth_of(*[(*b, c, i) for b, c, i in zip(boxes.tolist(), labels, ignored, strict=True)], size=(100, 100))
        )
        rows = []
        for box, label in zip(boxes, labels, strict=True):
            for _ in range(int(generator.integers(0, 3))):
                moved = box + generator.normal(0, 1.2, 4)
                rows.append(
                    [*moved, generator.beta(3, 2), label if generator.random() < 0.9 else generator.integers(classes)]
                )
        for _ in range(int(generator.integers(0, 6))):
            corner = generator.uniform(0, 60, 2)
            rows.append(
                [*corner, *(corner + generator.uniform(5, 40, 2)), generator.beta(2, 3), generator.integers(classes)]
            )
        padded = np.zeros((30, 6))
        padded[: len(rows)] = np.array(rows).reshape(-1, 6)
        found.append(torch.from_numpy(padded).float().T[..., None])
    return torch.stack(found), truths


def test_the_result_is_that_of_pycocotools_but_for_the_width_of_an_interval() -> None:
    found, truths = drawn(120, 0)
    metric = MeanAveragePrecision(backend="pycocotools", class_metrics=True)
    total = DETECTION.no_tally(3)
    for image, truth in zip(found, truths, strict=True):
        rows, there = image[:, image[4, :, 0] > 0, 0].T, truth[1:]
        metric.update(
            [{"boxes": rows[:, :4], "scores": rows[:, 4], "labels": rows[:, 5].long()}],
            [{"boxes": there[:, :4], "labels": there[:, 4].long(), "iscrowd": (there[:, 5] == CROWD).long()}],
        )
        total += DETECTION.total(image[None], truth[None], 3)
    exact = metric.compute()
    assert 0.15 < float(exact["map"]) < 0.6
    assert DETECTION.result_of(total) == pytest.approx(float(exact["map"]), abs=0.005)
    ours = DETECTION.class_results_of(total)
    assert ours[:2] == pytest.approx(exact["map_per_class"][:2].tolist(), abs=0.01)
    assert ours[2] is None
    halved = total[:, [0, 10, 20]]  # an IoU of 0.5 alone
    assert float(average_precision(halved).nanmean()) == pytest.approx(float(exact["map_50"]), abs=0.01)


def test_results_of_images_add_up_whatever_is_ignored() -> None:
    found, truths = drawn(6, 1)
    one_by_one = torch.stack(
        [DETECTION.tally(each[None], truth[None], 3)[0] for each, truth in zip(found, truths, strict=True)]
    )
    rows = max(len(truth) for truth in truths)
    padded = [torch.cat([t, torch.tensor([[0.0, 0, 0, 0, -1, 0]]).expand(rows - len(t), 6)]) for t in truths]
    assert torch.equal(DETECTION.total(found, torch.stack(padded), 3), one_by_one.sum(dim=0))
    box = torch.tensor([[0.0, 0, 10, 10, 0.9, 0], [0, 0, 10, 10, 0.8, 0]]).T[None, ..., None]
    passed = DETECTION.total(box, truth_of((0.0, 0.0, 10.0, 10.0, 0, PASSED_OVER))[None], 1)
    assert (passed[0, :10].sum(), passed[0, 10:20].sum()) == (0, 10)  # the second box is wrong at all ten
    crowd = DETECTION.total(box, truth_of((0.0, 0.0, 30.0, 30.0, 0, CROWD))[None], 1)
    assert not crowd.any()


def crops(
    truth: Tensor, count: int, crop: int = 24, scales: tuple[float, float] = (0.6, 1.6)
) -> list[tuple[Tensor, Tensor]]:
    """Crops of an image whose red is its column and whose green is its row."""
    rows, columns = IMAGE
    image = torch.stack([
        torch.arange(columns).expand(rows, columns), torch.arange(rows)[:, None].expand(rows, columns),
        torch.full(IMAGE, 200),
    ]).to(torch.uint8)  # fmt: skip
    shown = Preprocessing(ChannelStatistics((0.0,) * 3, (1 / 255,) * 3), ImageSize(longer=60))
    transform = TrainingTransform(shown, crop, scales, truth_cut=ObjectCut())
    return [transform(image, truth, np.random.default_rng(seed)) for seed in range(count)]


def test_boxes_follow_the_crop_and_one_is_whole() -> None:
    truth = truth_of((10.0, 8.0, 22.0, 18.0, 0), (40.0, 20.0, 50.0, 34.0, 1))
    mirrored = 0
    for image, found in crops(truth, 40, scales=(0.6, 1.1)):
        assert found.shape == (1 + MOST_OBJECTS, 6)
        assert found[0].tolist() == [0, 0, 24, 24, -1, 0]
        objects = found[1:][found[1:, 4] >= 0]
        whole = 0
        for left, top, right, bottom, label, ignored in objects.tolist():
            stored = truth[1 + int(label)]
            middle = image[:2, min(int((top + bottom) / 2), 23), min(int((left + right) / 2), 23)]
            if not ignored and left > 0.5 and top > 0.5 and right < 23.5 and bottom < 23.5:
                expected = (stored[:2] + stored[2:4]) / 2
                assert (middle - expected).abs().max() < 2  # what the image shows at its centre
            inner = right - left, bottom - top
            ratio = float((stored[2] - stored[0]) / (stored[3] - stored[1]))
            whole += not ignored and inner[0] / inner[1] == pytest.approx(ratio, rel=0.12)
        assert whole >= 1
        across = image[0, 12][image[2, 12] > 0]
        mirrored += bool(across[0] > across[-1])
    assert 10 < mirrored < 30


def test_an_object_that_a_crop_hardly_shows_is_passed_over() -> None:
    wide = truth_of((0.0, 0.0, 60.0, 40.0, 0))
    for _, found in crops(wide, 5, crop=20, scales=(1.0, 1.0)):
        assert found[1, :4].tolist() == [0, 0, 20, 20]
        assert found[1, 5] == PASSED_OVER  # a sixth of it
    many = truth_of(*[(float(i % 50), float(i // 50), i % 50 + 9.0, i // 50 + 9.0, 0) for i in range(200)])
    _, found = crops(many, 1, crop=60, scales=(1.0, 1.0))[0]
    assert (found[1:, 4] == 0).all()
    empty = crops(truth_of(), 1)[0][1]
    assert (empty[1:, 4] == -1).all()


def test_points_on_the_left_are_on_the_right_in_a_mirror() -> None:
    assert mirrored_points(["nose", "left_eye", "right_eye", "l wrist", "r wrist"]) == (0, 2, 1, 4, 3)


def test_a_selection_sees_classes_and_shares_of_areas() -> None:
    spec = DatasetSpec("made up", "none", ("a", "b", "c"), task="detection")
    truths = [
        truth_of((0.0, 0.0, 10.0, 10.0, 2), (0.0, 0.0, 10.0, 20.0, 0), (5.0, 0.0, 15.0, 10.0, 2)),
        truth_of((0.0, 0.0, 9.0, 9.0, 1, CROWD)),
        truth_of((0.0, 0.0, 30.0, 30.0, 1)),
    ]
    image = torch.zeros(3, *IMAGE, dtype=torch.uint8)
    split = Split(spec, "train", ("0", "1", "2"), lambda name: Sample(name, image, truths[int(name)]))
    seen = DETECTION.in_classes(split)
    mask = seen.mask(0)
    assert mask[:10, :5].unique().tolist() == mask[:10, 5:10].unique().tolist() == [2]  # the smaller box is on top
    assert mask[10:20, :10].unique().tolist() == [0]
    assert (mask[:10, 10:15] == 2).all()
    assert int((mask != VOID).sum()) == 250
    assert (seen.mask(1) == VOID).all()
    probe = draw_probe_set(seen, 40)
    assert set(probe.image_of_pixel.tolist()) == {0, 2}
    assert probe.class_shares.tolist() == [[0.5, 0, 0.5], [0, 0, 0], [0, 1, 0]]
    notes = DETECTION.notes_on(split)
    assert notes[0] == "train has 4 objects, at most 3 in an image."
    assert "1 image(s) of train have none" in notes[1]
    assert "1 objects of train, crowds" in notes[2]
    assert {DETECTION.subset(split, 2, seed).identifiers for seed in range(4)} <= {("0", "2"), ("0", "1"), ("1", "2")}


def test_a_backbone_gets_the_decoder_of_its_architecture() -> None:
    segments, bare = build_model("small_fpn", 2), Backbone(build_model("small_fpn", 2))
    one, other = DETECTION.fitted(segments), DETECTION.fitted(bare)
    other.replace_head(2, seed=0)  # it had no classes
    assert [tuple(each.shape) for each in other.parameters()] == [tuple(each.shape) for each in one.parameters()]
    assert other.blueprint == one.blueprint
