"""A learned head is kept only where images that it did not learn from come out better with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from muster.data import Dataset
from muster.models import build_model
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.multilabel import MULTILABEL
from muster.tasks.segmentation import SEGMENTATION
from muster.tasks.units import tally_units
from muster.training.finetuned_ensemble import Ensemble, EnsembleHead, load_ensemble
from muster.training.hardware import Hardware
from muster.training.head import PENALTIES, judge_penalties, learn_head
from muster.training.head_kept import fit_kept_head
from muster.training.head_training import fit_head
from muster.training.head_units import HeadUnits, Reading, collect_units
from muster.training.results import HeadChoice
from muster.training.settings import HeadSettings
from tests.helpers import make_target, shown

CLASSES = 3


def whole_images(scores: Tensor, labels: Tensor) -> HeadUnits:
    """Units that are whole images: scores ``[s, p, c]``, of which every cell holds a copy."""
    count = len(labels)
    readings = [Reading(each.T.expand(4, -1, -1).contiguous(), torch.full((4, count), 0.25)) for each in scores]
    return HeadUnits(readings, labels, torch.arange(count), torch.zeros(count, dtype=torch.int64))


def drawn(count: int, bias: float, seed: int) -> HeadUnits:
    """Two members that are right as often as each other, and prefer the first class by a bias."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    scores = 2 * torch.randn(2, count, CLASSES, generator=generator)
    scores += 2 * torch.nn.functional.one_hot(labels, CLASSES) + torch.tensor([bias, 0.0, 0.0])
    return whole_images(scores, labels)


def accuracy(head: EnsembleHead, units: HeadUnits) -> float:
    mean = torch.stack(
        [
            (cells[0].T * w + b).softmax(dim=1)
            for (cells, _), w, b in zip(units.readings, *head.parameters(), strict=True)
        ]
    ).mean(dim=0)
    return float((mean.argmax(dim=1) == units.truth).double().mean())


def make_ensemble(target: Dataset) -> Ensemble:
    members = [build_model("small_fpn", CLASSES, seed=seed) for seed in (0, 1)]
    with torch.no_grad():
        for member in members:
            member.head.weight *= 20
    return Ensemble(["a", "b"], members, target.spec.classes, shown(target.train, 48)).eval()


@pytest.mark.parametrize(
    ("plain", "reached", "penalty"),
    [
        (0.5, {0.1: 0.6, 1.0: 0.55}, 0.1),
        (0.5, {0.1: 0.6, 1.0: 0.6}, 1.0),  # of equal ones that which changes less
        (0.6, {0.1: 0.6, 1.0: 0.5}, None),  # the plain mean before all
        (0.7, {0.1: 0.6, 1.0: 0.5}, None),
    ],
)
def test_the_best_penalty_or_the_plain_mean(plain: float, reached: dict[float, float], penalty: float | None) -> None:
    choice = HeadChoice.by(plain, reached, 10, 5)
    assert (choice.penalty, choice.kept) == (penalty, penalty is not None)


def test_units_of_every_task_are_counted() -> None:
    predictions = torch.rand(CLASSES, 50, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % CLASSES
    counted = np.zeros((CLASSES, CLASSES), dtype=int)
    for label, column in zip(labels.tolist(), predictions.T, strict=True):
        counted[label, int(column.argmax())] += 1
    for task in (SEGMENTATION, CLASSIFICATION):
        assert tally_units(task, predictions, labels).tolist() == counted.tolist()
    has = (torch.rand(50, CLASSES, generator=torch.Generator().manual_seed(1)) > 0.5).long()
    tally = tally_units(MULTILABEL, predictions, has)
    assert tally[:, 1].sum(dim=-1).tolist() == has.sum(dim=0).tolist()
    decided = MULTILABEL.decide(predictions.T[:, :, None, None])
    assert tally[2, 1].tolist() == torch.bincount(decided[has[:, 2] == 1, 2], minlength=256).tolist()


def test_a_bias_that_members_share_is_set_right() -> None:
    units, new = drawn(150, 3.0, 0), drawn(2000, 3.0, 1)
    plain = EnsembleHead(2, CLASSES)
    choice = judge_penalties(CLASSIFICATION, plain, units, HeadSettings(), 0)
    assert choice.plain_mean == pytest.approx(accuracy(plain, units), abs=1e-12)
    assert choice.kept
    assert max(choice.held_out.values()) > choice.plain_mean + 0.1
    assert list(choice.held_out) == [1e-4, *PENALTIES]
    assert (choice.images, choice.folds) == (150, 5)
    assert accuracy(plain, new) < max(choice.held_out.values()) - 0.1
    assert torch.equal(plain.weights, torch.ones(2, CLASSES))


def test_members_that_need_no_head_keep_none() -> None:
    choices = [
        judge_penalties(CLASSIFICATION, EnsembleHead(2, CLASSES), drawn(24, 0.0, seed), HeadSettings(steps=30), 0)
        for seed in range(3)
    ]
    assert sum(choice.kept for choice in choices) <= 1
    least = [choice.held_out[1e-4] - (choice.plain_mean or 0.0) for choice in choices]
    assert sum(least) / len(least) < -0.02  # what was kept before costs something


def test_parts_are_whole_images_and_nothing_is_learned_from_them(target: Dataset) -> None:
    """Against heads that are learned one by one, in double precision and with many more steps."""
    ensemble = make_ensemble(target)
    units = collect_units(ensemble, target.train, 3, "cpu", 16, 60)
    choice = judge_penalties(SEGMENTATION, ensemble.head, units, HeadSettings(penalty=0.01, pixels_per_image=60), 3)
    images = units.images.unique()
    assert (choice.images, choice.folds) == (len(images), min(5, len(images)))
    cells = torch.stack([reading.cells for reading in units.readings]).double()
    shares = torch.stack([reading.shares for reading in units.readings]).double()
    shuffled = images[np.random.default_rng(3).permutation(len(images))]
    counted = {None: np.zeros((CLASSES, CLASSES)), 0.01: np.zeros((CLASSES, CLASSES))}
    for fold in range(choice.folds):
        out = torch.isin(units.images, shuffled[fold :: choice.folds])
        known = ~out & (units.numbers < 50)
        assert int(known.sum()) <= 50 * (len(images) - 1)
        learned = slowly(cells[..., known], shares[..., known], units.truth[known], 0.01)
        for penalty, head in ((None, torch.tensor([1.0, 0.0]).double()[:, None, None]), (0.01, learned)):
            mean = predicted(head, cells[..., out], shares[..., out])
            np.add.at(counted[penalty], (units.truth[out].numpy(), mean.argmax(dim=0).numpy()), 1)
    reached = {penalty: mean_iou_of(confusion) for penalty, confusion in counted.items()}
    assert choice.plain_mean == pytest.approx(reached[None], abs=0.01)
    assert choice.held_out[0.01] == pytest.approx(reached[0.01], abs=0.02)


def predicted(head: Tensor, cells: Tensor, shares: Tensor) -> Tensor:
    weights, biases = head[0].expand(2, CLASSES), head[1].expand(2, CLASSES)
    scores = cells * weights[:, None, :, None] + biases[:, None, :, None]
    return (scores.softmax(dim=2) * shares[:, :, None]).sum(dim=1).mean(dim=0)


def slowly(cells: Tensor, shares: Tensor, truth: Tensor, penalty: float) -> Tensor:
    head = torch.stack([torch.ones(2, CLASSES), torch.zeros(2, CLASSES)]).double().requires_grad_()
    start, optimizer = head.detach().clone(), torch.optim.Adam([head], 0.1)
    for _ in range(150):
        optimizer.zero_grad()
        told = predicted(head, cells, shares).gather(0, truth[None])[0]
        (-told.log().mean() + penalty * (head - start).square().sum()).backward()
        optimizer.step()
    return head.detach()


def mean_iou_of(confusion: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    hits = confusion.diagonal()
    ious = hits / (confusion.sum(axis=0) + confusion.sum(axis=1) - hits)
    return float(ious[confusion.sum(axis=1) > 0].mean())


def test_the_plain_mean_stays_where_no_head_does_better_and_the_card_says_so(target: Dataset, tmp_path: Path) -> None:
    ensemble = make_ensemble(target)
    # So strong a penalty leaves every prediction as it is.
    learn_head(ensemble, target.train, 0, settings=HeadSettings(penalty=1e9, pixels_per_image=40))
    choice = ensemble.head_choice
    assert choice is not None
    assert choice.held_out == {1e9: choice.plain_mean}
    assert not choice.kept
    assert torch.equal(ensemble.head.weights, torch.ones(2, CLASSES))
    ensemble.save(tmp_path / "ensemble", "tiny", {})
    assert load_ensemble(tmp_path / "ensemble").head_choice == choice
    assert "combined by the plain mean" in (tmp_path / "ensemble" / "README.md").read_text("utf-8")


def test_one_image_decides_nothing(tmp_path: Path) -> None:
    one = make_target(1)
    for optimizer in ("lbfgs", "sgd"):
        ensemble, settings = make_ensemble(one), HeadSettings(optimizer=optimizer, steps=2)
        if optimizer == "lbfgs":
            learn_head(ensemble, one.train, 0, settings=settings)
        else:
            assert fit_kept_head(ensemble, one.train, settings, 0, tmp_path, Hardware("cpu")) == []
        assert ensemble.head_choice == HeadChoice(None)
        assert torch.equal(ensemble.head.weights, torch.ones(2, CLASSES))


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("rate", [0.2, 1e-12])
def test_a_head_of_steps_is_judged_on_a_fifth(tmp_path: Path, rate: float) -> None:
    target = make_target(6)
    settings = HeadSettings(optimizer="sgd", steps=8, batch_size=3, learning_rate=rate, penalty=0.0)
    judged, ensemble, whole = make_ensemble(target), make_ensemble(target), make_ensemble(target)
    curve = fit_kept_head(ensemble, target.train, settings, 0, tmp_path / "kept", Hardware("cpu"))
    kept, held = target.train.hold_out(0.2, 0)
    fit_head(judged, kept, settings, 0, tmp_path / "by_hand", Hardware("cpu"))
    fit_head(whole, target.train, settings, 0, tmp_path / "whole", Hardware("cpu"))
    reached = {}
    for name, each in (("plain", make_ensemble(target)), ("judged", judged)):
        confusion = np.zeros((CLASSES, CLASSES))
        for sample in held:
            labels, known = each.predict(sample.image), sample.mask < CLASSES
            np.add.at(confusion, (sample.mask[known].numpy(), labels[known].numpy()), 1)
        reached[name] = mean_iou_of(confusion)
    choice = ensemble.head_choice
    assert choice is not None
    assert choice.plain_mean == pytest.approx(reached["plain"], abs=0.005)
    assert choice.held_out[0.0] == pytest.approx(reached["judged"], abs=0.005)
    assert choice.kept == (choice.held_out[0.0] > choice.plain_mean) == bool(curve)
    expected = whole.head.weights if choice.kept else torch.ones(2, CLASSES)
    assert torch.equal(ensemble.head.weights, expected)
    assert choice.kept == (rate > 0.1)
    always = replace(settings, keep="always")
    assert fit_kept_head(make_ensemble(target), target.train, always, 0, tmp_path / "whole", Hardware("cpu"))
