"""What became of choices in studies, and the sentence that tells a user."""

from __future__ import annotations

from dataclasses import replace

import pytest

from muster.metrics import METRICS
from muster.report.wording import track_record_sentence
from muster.report.wording.track_record import _fared
from muster.selection.run import select
from muster.selection.track_record import PastChoice, past_choices, record_of
from tests.helpers import make_pool, make_target


def test_the_file_is_sound() -> None:
    past = past_choices()
    assert past
    keys = [(each.study, each.target, each.predictor, each.metric, each.size) for each in past]
    assert len(set(keys)) == len(keys)
    for each in past:
        assert each.metric in METRICS
        assert each.predictor in {"eep", "linear_probe", ""}
        assert 1 <= each.rank <= each.candidates
        assert 0 < each.result <= each.best_result
        assert each.mean_result <= each.best_result


def test_shares_are_of_the_better_candidates() -> None:
    past = PastChoice("s", "t", "eep", "iou_eep", 3, 38.0, 364, 0.36, 0.40, 0.35)
    assert past.better == pytest.approx(37 / 364)
    assert past.regret == pytest.approx(0.1)


def test_the_sentence_counts_targets() -> None:
    best = PastChoice("s", "a", "eep", "iou_eep", 3, 1.0, 100, 0.40, 0.40, 0.35)
    poor = PastChoice("s", "b", "eep", "iou_eep", 3, 60.0, 100, 0.30, 0.40, 0.35)
    said = _fared([best, poor], "IoU-EEP (EEP)")
    assert said == (
        "on 2 targets whose candidates were all fine-tuned, what IoU-EEP (EEP) chose was among the best 5 % on 1 and "
        "above the average on 1; it reached 12.5 % less than the best candidate on average, at most 25.0 %."
    )


def test_a_selection_is_told_of_choices_made_like_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    pool = make_pool(tmp_path_factory.mktemp("pool"), 3)
    selection = select(pool, make_target(4), size=3, pixels_per_image=20, cache_gb=0.0, resamples=0, predictor="eep")
    past = record_of(selection)
    assert {(each.metric, each.predictor, each.size) for each in past} == {("soft_iou_eep", "eep", 3)}
    assert f"on {len(past)} targets whose candidates were all fine-tuned" in track_record_sentence(selection)
    assert "no study has followed choices of 5" in track_record_sentence(replace(selection, size=5))
