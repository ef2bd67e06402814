"""Mixed precision in everything after a fit: what it may change, and what stays in single precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from muster.data import ChannelStatistics, Dataset, channel_statistics
from muster.models import Segmenter, build_model
from muster.precision import resolve_precision
from muster.tasks.segmentation import SEGMENTATION
from muster.training.evaluation import model_predictor
from muster.training.finetuned_ensemble import Ensemble, load_ensemble
from muster.training.hardware import Hardware
from muster.training.head import learn_head
from tests.helpers import confusion_matrices, shown

HALF = Hardware("cpu", precision="bf16-mixed")


def make_ensemble(target: Dataset, precision: str) -> Ensemble:
    models = [build_model("small_fpn", 3, seed=seed) for seed in range(2)]
    ensemble = Ensemble("ab", models, target.spec.classes, shown(ChannelStatistics((0.5,) * 3, (0.25,) * 3), 64)).eval()
    ensemble.precision = precision
    return ensemble


def test_scores_are_close_and_probabilities_in_single_precision(target: Dataset) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    exact, rounded = (make_ensemble(target, precision)(images, (48, 48)) for precision in ("32-true", "bf16-mixed"))
    assert exact.dtype == rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=1e-2)
    torch.testing.assert_close(rounded.sum(dim=1), torch.ones(2, 48, 48))


def test_evaluation_agrees_but_for_pixels_at_ties(target: Dataset) -> None:
    model = build_model("small_fpn", 3, seed=2)
    with torch.no_grad():
        model.head.weight *= 20
    assert isinstance(model.eval(), Segmenter)
    statistics = channel_statistics(target.train)
    exact = confusion_matrices(model_predictor(model, SEGMENTATION), target.test, shown(statistics, 48))["prediction"]
    with HALF.autocast():
        rounded = confusion_matrices(model_predictor(model, SEGMENTATION), target.test, shown(statistics, 48))[
            "prediction"
        ]
    assert rounded.sum() == exact.sum()
    assert (rounded - exact).abs().sum() <= 0.04 * exact.sum()


def test_a_head_is_learned_from_rounded_scores_in_single_precision(target: Dataset) -> None:
    weights = {}
    for precision in ("32-true", "bf16-mixed"):
        ensemble = make_ensemble(target, precision)
        before, after = learn_head(ensemble, target.train, seed=0)
        assert after < before
        assert ensemble.head.weights.dtype == torch.float32
        weights[precision] = (before, after)
    assert weights["bf16-mixed"] == pytest.approx(weights["32-true"], abs=1e-2)


def test_an_opened_ensemble_computes_as_it_is_told(target: Dataset, tmp_path: Path) -> None:
    make_ensemble(target, "32-true").save(tmp_path / "ensemble", "tiny", {})
    assert load_ensemble(tmp_path / "ensemble").precision == resolve_precision("auto", torch.device("cpu")) == "32-true"
    half = load_ensemble(tmp_path / "ensemble", precision="bf16-mixed")
    assert half.precision == "bf16-mixed"
    image = target.test[0].image
    agreeing = half.predict(image) == load_ensemble(tmp_path / "ensemble").predict(image)
    assert agreeing.float().mean() > 0.9
