"""Selections on noise claim nothing; dead members and ties are told."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from muster.data import Dataset, Sample
from muster.errors import SelectionError
from muster.metrics import METRICS
from muster.pool import Pool, write_member
from muster.report.wording import no_better_than_guessing
from muster.scoring import Ranking
from muster.scoring.candidate_ties import require_choice, tied_with_best
from muster.selection import Selection
from muster.selection.guessing import Honest, compare_with_guessing, guessing_leep
from muster.selection.run import select
from muster.tasks.source_sample import sample_source
from tests.helpers import make_member, make_pool, make_target, shown

OPTIONS: dict[str, Any] = {"size": 2, "pixels_per_image": 60, "cache_gb": 0.0, "batch_size": 4, "resamples": 0}


def noisy(target: Dataset, classes: int) -> Dataset:
    """The same images with labels that have nothing to do with them."""
    spec = replace(target.spec, classes=tuple(f"class {index}" for index in range(classes)))

    def read(identifier: str) -> Sample:
        sample = target.train.read(identifier)
        generator = torch.Generator().manual_seed(int(identifier))
        mask = torch.randint(0, classes, sample.mask.shape, generator=generator).to(torch.uint8)
        return Sample(identifier, sample.image, mask)

    train = replace(target.train, spec=spec, read=read)
    return replace(target, spec=spec, train=train, test=replace(target.test, spec=spec, read=read))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 4)


@pytest.mark.parametrize("predictor", ["linear_probe", "eep"])
@pytest.mark.parametrize("classes", [4, 80])
def test_labels_that_are_noise_are_not_claimed_to_be_predicted(pool: Pool, predictor: Any, classes: int) -> None:
    target = noisy(make_target(6), classes)
    chosen = select(pool, target, predictor=predictor, metric="e_leep", metrics=(), **OPTIONS)
    assert chosen.guessing is not None
    assert chosen.guessing.better == ()
    assert chosen.guessing.best_leep < chosen.guessing.leep + 0.05 * math.log(classes)
    assert "No member of this pool does better on tiny than guessing" in no_better_than_guessing(
        chosen.guessing, chosen.target
    )


def test_a_target_that_is_predicted_is_claimed(pool: Pool, tmp_path: Path) -> None:
    chosen = select(pool, make_target(6), metrics=(), **OPTIONS)
    assert chosen.guessing is not None
    assert chosen.guessing.better
    assert chosen.guessing.best in chosen.guessing.better
    assert chosen.guessing.low <= chosen.guessing.best_leep <= chosen.guessing.high
    assert no_better_than_guessing(chosen.guessing, chosen.target) == ""
    chosen.save(tmp_path / "chosen")
    assert Selection.load(tmp_path / "chosen").guessing == chosen.guessing


def test_guessing_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 2])  # class 1 does not occur
    assert guessing_leep(labels) == pytest.approx(0.75 * math.log(0.75) + 0.25 * math.log(0.25))

    def honest(gains: list[float], iou: float = 0.9) -> Honest:
        return Honest(guessing_leep(labels) + np.array(gains), np.full(len(gains), 2), iou)

    found = compare_with_guessing({"a": honest([0.1, 0.3]), "b": honest([-0.1, 0.2])}, labels)
    assert found is not None
    assert (found.iou, found.best, found.better) == (0.375, "a", ("a",))  # always class 0: (0.75 + 0) / 2
    assert found.best_leep == pytest.approx(guessing_leep(labels) + 0.2)
    assert (found.low, found.high) == (pytest.approx(found.leep + 0.1), pytest.approx(found.leep + 0.3))
    for worse in (honest([-0.1, 0.5]), honest([0.02, 0.02]), honest([0.1, 0.3], iou=0.375)):
        none_better = compare_with_guessing({"a": worse}, labels)
        assert none_better is not None
        assert none_better.better == ()
    assert compare_with_guessing({"a": honest([0.0])}, torch.zeros(4, dtype=torch.int64)) is None
    assert compare_with_guessing({}, labels) is None


def test_members_of_whom_nothing_can_be_learned_are_not_called_dead(pool: Pool) -> None:
    # The linear probe predicts the class priors everywhere if held-out images gain by nothing else.
    chosen = select(pool, noisy(make_target(6), 80), metric="logme", metrics=(), **OPTIONS)
    assert not chosen.excluded


def make_dead(pool: Path, name: str, seed: int) -> None:
    """A member all of whose weights are zero, as after a training that collapsed."""
    member = make_member(pool, name, seed, classes=3)
    model = member.load_model()
    with torch.no_grad():
        for value in model.state_dict().values():
            value.zero_()
    write_member(member.folder, model, member.card, {"nothing": torch.zeros(1)})


OF_CLASSES = {name: metric for name, metric in METRICS.items() if "numbers" not in metric.needs}
"""Those of targets whose truth is a class."""


@pytest.fixture(scope="module")
def half_dead(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Three sound members and a dead one that comes second; one that saw the target is there to compare with."""
    folder, source = tmp_path_factory.mktemp("half dead"), make_target(4, name="elsewhere")
    make_dead(folder, "b", 7)
    for seed, name in enumerate("acdz"):
        make_member(folder, name, seed, classes=3, dataset="tiny" if name == "z" else "elsewhere")
    opened = Pool.open(folder)
    for member in opened:
        sample = sample_source(member.load_model(), source.train, shown(source.train, 64), seed=1)
        save_file(sample, member.folder / "source_sample.safetensors")
    return opened


@pytest.mark.parametrize("predictor", ["linear_probe", "eep"])
def test_a_dead_member_takes_no_metric_away(half_dead: Pool, predictor: Any) -> None:
    wrapped = ("parc+l", "h_score_shrinkage+haste_cs", "e_leep+haste_ca", "logme+pca4")
    with pytest.warns(UserWarning, match="'b' is left out: it predicts the same at every probe pixel"):
        chosen = select(half_dead, make_target(6), predictor=predictor, metrics=(*OF_CLASSES, *wrapped), **OPTIONS)
    assert not chosen.dropped
    assert set(chosen.member_scores) == set("acd")
    assert "predicts the same at every probe pixel" in chosen.excluded["b"]
    assert set(OF_CLASSES) <= set(chosen.ranking.scores)


@pytest.mark.parametrize("metric", [name for name, metric in OF_CLASSES.items() if metric.definition is None])
def test_every_metric_of_single_members_can_be_chosen_by_beside_a_dead_one(half_dead: Pool, metric: str) -> None:
    options = {**OPTIONS, "predictor": "eep", "pixels_per_image": 30}
    with pytest.warns(UserWarning, match="'b' is left out"):
        chosen = select(half_dead, make_target(5), metric=metric, metrics=(), **options)
    assert "b" not in chosen.members


def test_a_member_without_a_score_by_the_metric_to_choose_by_is_left_out(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, parc, calls = make_target(6), METRICS["parc"], list[int]()

    def fails_once(*arrays: Any) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("two images are alike.")
        return float("nan") if len(calls) == 3 else parc.function(*arrays)

    monkeypatch.setitem(METRICS, "parc", replace(parc, function=fails_once))
    with pytest.warns(UserWarning, match="has no score by parc, which is chosen by"):
        chosen = select(pool, target, metric="parc", metrics=(), **OPTIONS)
    assert set(chosen.member_scores) == {"a", "d"}
    assert "two images are alike" in chosen.excluded["b"]
    assert "its score is nan" in chosen.excluded["c"]
    calls.clear()
    with pytest.warns(UserWarning, match="Metric 'parc' is left out: it cannot be computed for member 'b'"):
        compared = select(pool, target, metrics=("parc",), **OPTIONS)
    assert set(compared.member_scores) == set("abcd")  # what is only compared with changes nothing in the choice


def test_only_dead_members_are_an_error_that_says_so(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        make_dead(tmp_path, name, seed)
    with (
        pytest.warns(UserWarning, match="is left out"),
        pytest.raises(SelectionError, match=r"only 0 of the 2 .* a \(it predicts the same at every probe pixel"),
    ):
        select(tmp_path, make_target(4), metrics=(), **OPTIONS)


def test_ties_are_told_apart_from_rounding() -> None:
    rows = np.array([[0, 1], [0, 2], [1, 2]])
    for scores, tie in (
        ([0.1 + 0.2, 0.3, 0.3], True),
        ([0.3, 0.3, 0.3 - 1e-6], False),
        ([-1e6, -1e6 - 1e-5, -1e6], True),
    ):
        ranking = Ranking(rows, {"e_leep": np.array(scores)})
        assert bool(tied_with_best(ranking.scores["e_leep"]).all()) == tie
        if tie:
            with pytest.raises(
                SelectionError, match="Nothing can be chosen: all 3 candidates have the same score by E-"
            ):
                require_choice(ranking, "e_leep", {}, lists_all=True)
        else:
            require_choice(ranking, "e_leep", {}, lists_all=True)
        require_choice(ranking, "e_leep", {}, lists_all=False)
    sums = Ranking(rows, {"logme": np.ones(3)})
    with pytest.raises(SelectionError, match="all candidates have the same score by LogME"):
        require_choice(sums, "logme", {"logme": np.full(9, 0.5)}, lists_all=False)
    require_choice(Ranking(rows[:1], {"e_leep": np.ones(1)}), "e_leep", {}, lists_all=True)
