"""Test-time augmentation, against an average that is written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from muster.data import VOID, ChannelStatistics, Dataset, ImageSize, Preprocessing, prepare_image
from muster.errors import ConfigError
from muster.models import TTASettings, Variant, build_model
from muster.tasks.class_counts import confusion_matrix
from muster.training.costs import measure_costs
from muster.training.finetuned_ensemble import Ensemble, load_ensemble
from muster.training.finetuning import evaluate
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN
from muster.training.settings import TrainingSettings
from muster.training.target_data import TargetData
from tests.helpers import upsampled

SHOWN = Preprocessing(ChannelStatistics((0.5,) * 3, (0.25,) * 3), ImageSize(64))
TTA = TTASettings(flip=True, scales=(1.0, 1.5))


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    models = [build_model("small_fpn", 3, seed=seed) for seed in range(2)]
    for model in models:
        model.head.weight.data *= 20  # fresh heads hardly tell places apart
    made = Ensemble("ab", models, ("ground", "wall", "sky"), SHOWN).eval()
    made.head.weights.data[0] *= 1.5
    made.tta = TTA
    return made


def slowly(ensemble: Ensemble, images: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Four looks at the images: at both sizes, plain and mirrored."""
    larger = (round(images.shape[2] * 1.5), round(images.shape[3] * 1.5))
    shown = [images, interpolate(images, size=larger, mode="bilinear", antialias=True)]
    found: dict[str, list[Tensor]] = {"a": [], "b": [], LEARNED_HEAD: []}
    for each in shown:
        for mirror in (False, True):
            maps = [member(each.flip(-1) if mirror else each) for member in ensemble.members]
            both = [ensemble.head.adjust(place, scores) for place, scores in enumerate(maps)]
            learned, alone = (
                [upsampled(scores.softmax(dim=1), each.shape[2:], size).float() for scores in some]
                for some in (both, maps)
            )
            if mirror:
                learned, alone = ([maps.flip(-1) for maps in some] for some in (learned, alone))
            for name, probabilities in zip("ab", alone, strict=True):
                found[name].append(probabilities)
            found[LEARNED_HEAD].append(torch.stack(learned).mean(dim=0))
    means = {name: torch.stack(values).mean(dim=0) for name, values in found.items()}
    return means | {PLAIN_MEAN: (means["a"] + means["b"]) / 2}


@torch.no_grad()
def test_the_ensemble_predicts_the_mean_and_its_card_says_so(ensemble: Ensemble, tmp_path: Path) -> None:
    image = torch.randint(0, 256, (3, 46, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    prepared = prepare_image(image, SHOWN)[None]
    assert prepared.shape[-2:] == (46, 64)
    expected = slowly(ensemble, prepared, (46, 64))[LEARNED_HEAD]
    torch.testing.assert_close(ensemble(prepared, (46, 64)), expected, rtol=0, atol=1e-5)
    ensemble.save(tmp_path / "ensemble", "tiny", {})
    again = load_ensemble(tmp_path / "ensemble")
    assert again.tta == TTA
    masks = again.predict(image), ensemble.predict(image), expected[0].argmax(dim=0)
    assert torch.equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).float().mean() < 0.002  # a tie may fall either way
    ensemble.tta = TTASettings()
    assert (ensemble.predict(image) != masks[0]).any()
    ensemble.tta = TTA


@torch.no_grad()
def test_evaluation_counts_the_mean_for_every_member_and_costs_are_of_all_passes(
    ensemble: Ensemble, target: Dataset
) -> None:
    module = EnsembleTraining(TrainingSettings(), 3, "ab", list(ensemble.members)).eval()  # type: ignore[arg-type]
    data = TargetData(target, target.train, SHOWN)
    counts = evaluate(module, ensemble, data, Hardware("cpu"))
    confusions = {name: torch.zeros(3, 3, dtype=torch.int64) for name in counts}
    for sample in target.test:
        size = (sample.mask.shape[0], sample.mask.shape[1])
        prepared = prepare_image(sample.image, SHOWN)[None]
        means: dict[str, list[Tensor]] = {}
        for variant in TTA.variants:
            for name, member in zip("ab", ensemble.members, strict=True):
                shown = variant.of(prepared)
                full = upsampled(member(shown).softmax(dim=1), shown.shape[2:], size).float()
                means.setdefault(name, []).append(full.flip(-1) if variant.mirrored else full)
        for name, values in means.items():
            labels = torch.stack(values).mean(dim=0)[0].argmax(dim=0)
            confusions[name] += confusion_matrix(labels, sample.mask, 3, VOID)
    for name in "ab":
        assert (counts[name].confusion - confusions[name]).abs().sum() <= 4
    costs, how = measure_costs(module, ensemble, (32, 64), Hardware("cpu"))
    plain = Ensemble("ab", list(ensemble.members), ensemble.classes, SHOWN).eval()  # type: ignore[arg-type]
    once, _ = measure_costs(module, plain, (32, 64), Hardware("cpu"))
    assert costs["a"].seconds_per_image > 1.5 * once["a"].seconds_per_image
    assert "mirrored as well, at 1, 1.5 times its size" in how


def test_variants_and_what_is_refused() -> None:
    assert TTASettings().variants == (Variant(),)
    assert TTA.variants == (Variant(), Variant(mirrored=True), Variant(1.5), Variant(1.5, mirrored=True))
    assert Variant(0.75).shape_of(90, 128) == (68, 96)
    assert Variant(0.1).shape_of(4, 64) == (1, 6)
    assert (TTASettings().in_words, TTASettings(flip=True).in_words) == ("", "mirrored as well")
    wrong: Any
    for wrong in ((), (1.0, 1.0), (0.0,), (9.0,)):
        with pytest.raises(ConfigError, match=r"^tta\.scales"):
            TTASettings(scales=wrong)
