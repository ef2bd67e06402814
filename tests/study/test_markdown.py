"""A study as a page: costs stand beside every result."""

from __future__ import annotations

from dataclasses import replace

from muster.study.finetuned_candidates import SCRATCH, StudyResult
from muster.study.markdown import study_as_markdown
from tests.report.made_up import make_pool

NAMES = ("alpha", "beta", "gamma")


def made_up() -> StudyResult:
    scratch = f"{SCRATCH}small_fpn"
    return StudyResult(
        target="harbour", train_images=6, test_images=4,
        members={"alpha": 0.3, "beta": 0.4, "gamma": 0.2, scratch: 0.1}, leeps=dict.fromkeys(NAMES, -1.0),
        choices={"soft_iou_eep": ("alpha", "beta"), "random": ("beta", "gamma")},
        plain_means={"soft_iou_eep": 0.45, "random": 0.35}, learned_heads={"soft_iou_eep": 0.46, "random": 0.36},
        single_best="beta", miou_range=(0.3, 0.4, 0.5), ensembles=3,
        correlations={"soft_iou_eep": {"weighted_kendall": 0.5, "kendall": 0.4, "pearson": 0.3}},
        parameters={"alpha": 1_000_000, "beta": 250_000, "gamma": 500_000, scratch: 330_000},
    )  # fmt: skip


def test_every_choice_says_its_parameters() -> None:
    text = study_as_markdown(made_up(), make_pool(NAMES))
    assert "| chosen by | members | parameters | plain mean | learned head |" in text
    assert "| soft_iou_eep | alpha, beta | 1.25 M | 0.450 | 0.460 |" in text
    assert "| a random ensemble | beta, gamma | 750 k | 0.350 | 0.360 |" in text
    assert "| B1 (best single by LEEP) | beta | 250 k | 0.400 |  |" in text
    assert "| from scratch | small_fpn | 330 k | 0.100 |  |" in text


def test_a_study_from_before_has_no_parameters() -> None:
    text = study_as_markdown(replace(made_up(), parameters={}), make_pool(NAMES))
    assert "| B1 (best single by LEEP) | beta |  | 0.400 |  |" in text
