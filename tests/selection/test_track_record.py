"""What became of choices in studies, and the sentence that tells a user."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from muster.metrics import METRICS
from muster.report.wording import track_record_sentence
from muster.report.wording.track_record import _by_margin, _fared
from muster.selection.run import select
from muster.selection.track_record import ByMargin, PastChoice, margin_of, past_choices, record_of
from tests.helpers import make_pool, make_target


def test_the_file_is_sound() -> None:
    past = past_choices()
    assert past
    keys = [(each.study, each.target, each.predictor, each.metric, each.size) for each in past]
    assert len(set(keys)) == len(keys)
    for each in past:
        assert each.metric in METRICS
        assert each.predictor in {"eep", "linear_probe", ""}
        assert each.task in {"segmentation", "classification"}
        assert 1 <= each.rank <= each.candidates
        assert 0 < each.result <= each.best_result
        assert each.mean_result <= each.best_result
        assert each.margin is None or 0 <= each.margin <= 1
    assert sum(each.margin is not None for each in past) > 40


def test_shares_are_of_the_better_candidates() -> None:
    past = PastChoice("s", "t", "segmentation", "eep", "iou_eep", 3, 38.0, 364, 0.36, 0.40, 0.35)
    assert past.better == pytest.approx(37 / 364)
    assert past.regret == pytest.approx(0.1)


def test_the_sentence_counts_targets() -> None:
    best = PastChoice("s", "a", "segmentation", "eep", "iou_eep", 3, 1.0, 100, 0.40, 0.40, 0.35)
    poor = PastChoice("s", "b", "segmentation", "eep", "iou_eep", 3, 60.0, 100, 0.30, 0.40, 0.35)
    said = _fared([best, poor], "IoU-EEP (EEP)")
    assert said == (
        "on 2 targets whose candidates were all fine-tuned, what IoU-EEP (EEP) chose was among the best 5 % on 1 and "
        "above the average on 1; it reached 12.5 % less than the best candidate on average, at most 25.0 %."
    )


def followed(*told: tuple[float | None, float], target: str = "") -> list[PastChoice]:
    """Choices with these margins and ranks of 100."""
    return [
        PastChoice(
            "s", target or f"t{place}", "segmentation", "eep", "iou_eep", 3, float(rank), 100, 0.4, 0.5, 0.3, margin
        )
        for place, (margin, rank) in enumerate(told)
    ]


def test_a_margin_by_hand() -> None:
    scores = np.array([9.0, 5.0, *[1.0] * 18, 0.0])  # 5 % of 21 are two, rounded up: 5 is the last of the best
    assert margin_of(scores) == pytest.approx((9 - 5) / (9 - 1))
    assert margin_of(np.random.default_rng(0).permutation(3 * scores - 7)) == pytest.approx(0.5)
    assert margin_of(np.array([9.0, 1.0, *[1.0] * 19])) == 1.0
    assert margin_of(np.ones(30)) == 0.0
    assert margin_of(np.array([9.0] * 2 + [0.0] * 30)) == 0.0
    assert margin_of(np.arange(19.0)) is None


def test_past_choices_are_parted_at_the_median_margin() -> None:
    past = followed((0.1, 1), (0.2, 60), (0.3, 80), (0.4, 1), (0.5, 6), (0.6, 7), (None, 1))
    groups = ByMargin.of(past)
    assert groups is not None
    assert (groups.least, groups.ahead, groups.close) == (0.4, tuple(past[3:6]), tuple(past[:3]))
    assert ByMargin.of(past[1:]) is None  # two and three
    assert ByMargin.of(followed(*[(0.3, 1.0)] * 8)) is None  # nobody is ahead of anybody
    assert ByMargin.of([]) is None


def test_the_sentence_about_the_margin() -> None:
    past = followed((0.1, 1), (0.2, 60), (0.3, 80), (0.4, 1), (0.5, 6), (0.6, 7))
    said = _by_margin(past, 0.45)
    assert said == (
        "Of what its score is above the middle candidate's, 45 % are above the best 5 %; with at least 40 % such "
        "choices were among the best 5 % on 2 of 3 targets, with less on 1 of 3 targets. So few cannot tell whether "
        "that matters."
    )
    assert (
        "with less than 40 % such choices were among the best 5 % on 1 of 3 targets, with more on 2 of 3 targets"
        in (_by_margin(past, 0.39))
    )
    assert "cannot tell" not in _by_margin(past * 4, 0.45)
    assert _by_margin(past[:2], 0.45).endswith("that is known of 2 past choices, too few to compare with.")
    assert _by_margin(past, None) == ""


def test_targets_that_occur_twice_are_no_two_targets() -> None:
    twice = followed((0.1, 1.0), (0.2, 1.0), target="camvid")
    assert _fared(twice, "x").startswith("on 2 targets (1 different ones, some with two pools)")


def test_a_selection_is_told_of_choices_made_like_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    pool = make_pool(tmp_path_factory.mktemp("pool"), 3)
    selection = select(pool, make_target(4), size=3, pixels_per_image=20, cache_gb=0.0, resamples=0, predictor="eep")
    past = record_of(selection)
    assert {(each.metric, each.predictor, each.size) for each in past} == {("soft_iou_eep", "eep", 3)}
    different = len({each.target for each in past})
    assert 5 < different < len(past)
    assert (
        f"on {len(past)} targets ({different} different ones, some with two pools) whose candidates were all fine-tuned"
        in track_record_sentence(selection)
    )
    assert "no study has followed choices of 5" in track_record_sentence(replace(selection, size=5))
    assert {each.task for each in past} == {"segmentation"}
    assert record_of(replace(selection, metric="e_leep", task="classification"))
    assert "middle candidate" not in track_record_sentence(selection)  # a single candidate is ahead of none
