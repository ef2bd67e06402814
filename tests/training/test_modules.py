"""The loss, the settings, and fits of several members side by side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from muster.data import VOID, Dataset
from muster.errors import ConfigError
from muster.pool import Pool
from muster.tasks.segmentation import SEGMENTATION
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining, TrainingDivergedError, head_seed
from muster.training.optimizers import with_schedule
from muster.training.settings import Schedule, SourceSettings, TrainingSettings
from tests.helpers import make_member, shown

SETTINGS = TrainingSettings(steps=4, batch_size=2, crop_size=32, seed=3)


class TestLoss:
    @pytest.fixture
    def scores(self) -> torch.Tensor:
        return torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def test_is_cross_entropy_of_upsampled_scores_without_void(self, scores: torch.Tensor) -> None:
        masks = torch.randint(0, 4, (2, 20, 28), generator=torch.Generator().manual_seed(1))
        masks[:, :7] = VOID
        upsampled = functional.interpolate(scores, size=(20, 28), mode="bilinear", align_corners=False)
        expected = functional.cross_entropy(upsampled, masks, ignore_index=VOID)
        assert SEGMENTATION.loss(scores, masks).item() == pytest.approx(expected.item(), rel=1e-6)

    def test_of_probabilities_is_softmax_then_upsampling_then_the_logarithm(self, scores: torch.Tensor) -> None:
        masks = torch.randint(0, 4, (2, 20, 28), generator=torch.Generator().manual_seed(1))
        masks[:, :7] = VOID
        said = scores.detach().softmax(dim=1)
        upsampled = functional.interpolate(said, (20, 28), mode="bilinear", align_corners=False)
        total, count = 0.0, 0
        for image, row, column in torch.nonzero(masks != VOID).tolist():
            total -= float(upsampled[image, masks[image, row, column], row, column].log())
            count += 1
        loss = SEGMENTATION.loss(scores, masks, "probabilities")
        assert loss.item() == pytest.approx(total / count, rel=1e-5)
        assert loss.item() != pytest.approx(SEGMENTATION.loss(scores, masks).item(), rel=1e-3)

    def test_of_probabilities_stays_finite_where_they_underflow(self) -> None:
        scores = torch.tensor([0.0, 500.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2).clone().requires_grad_()
        loss = SEGMENTATION.loss(scores, torch.zeros(1, 4, 4, dtype=torch.int64), "probabilities")
        loss.backward()
        assert scores.grad is not None
        assert loss.isfinite()
        assert scores.grad.isfinite().all()

    @pytest.mark.parametrize("kind", ["scores", "probabilities"])
    def test_a_batch_without_a_label_teaches_nothing(self, scores: torch.Tensor, kind: str) -> None:
        loss = SEGMENTATION.loss(scores, torch.full((2, 20, 28), VOID), kind)
        loss.backward()
        assert loss.item() == 0
        assert scores.grad is not None
        assert torch.equal(scores.grad, torch.zeros_like(scores))


def rate_factors(schedule: Schedule, steps: int, at: Iterable[int]) -> list[float]:
    """The learning rate at some steps, as a share of the initial one."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = with_schedule(optimizer, schedule, steps)["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(steps + 2):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [rates[step] for step in at]


class TestSettings:
    def test_rate_falls_to_a_tenth_after_two_thirds(self) -> None:
        factors = rate_factors("step", 6, range(7))
        assert factors == [1, 1, 1, 1, 0.1, 0.1, 0.1]
        assert rate_factors("step", 100, (66, 67)) == [1, 0.1]
        for steps in range(1, 20):  # the first step of the last third, whatever the number
            expected = [1.0 if 3 * step < 2 * steps else 0.1 for step in range(steps)]
            assert rate_factors("step", steps, range(steps)) == expected

    def test_rate_falls_as_a_power(self) -> None:
        assert rate_factors("poly", 10, (0, 5, 10, 11)) == [1, pytest.approx(0.5**0.9), 0, 0]
        expected = [(1 - step / 1000) ** 0.9 for step in range(1000)]
        assert rate_factors("poly", 1000, range(1000)) == pytest.approx(expected, rel=1e-10)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("steps", 0), ("batch_size", -1), ("learning_rate", 0.0), ("learning_rate", float("nan")),
            ("checkpoint_every", 0), ("crop_size", 0), ("crop_size", "40"), ("scale_range", (0.0, 1.0)),
            ("scale_range", (1.5, 0.7)), ("image_size", 0), ("validate_every", 0), ("validation_fraction", 1.0),
            ("validation_fraction", -0.1),
        ],
    )  # fmt: skip
    def test_a_value_out_of_range_is_named(self, key: str, value: Any) -> None:
        with pytest.raises(ConfigError, match=f"^{key}: expected"):
            SourceSettings(**{key: value})


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    make_member(folder, "a", 0, classes=5)
    make_member(folder, "b", 1, architecture="small_unet")
    return Pool.open(folder)


def train(names: str, pool: Pool, target: Dataset, folder: Path, settings: TrainingSettings) -> EnsembleTraining:
    module = EnsembleTraining(settings, target.spec.num_classes)
    assert not module.members_chosen
    module.set_members(list(names), [pool[name].load_model() for name in names])
    data = FitData(target.train, shown(target.train, 48), settings)
    fit(module, data, folder / names, Hardware("cpu"))
    return module


def test_one_fit_equals_separate_fits(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    together = train("ab", pool, target, tmp_path, SETTINGS)
    for place, name in enumerate("ab"):
        alone = train(name, pool, target, tmp_path, SETTINGS).members[0].state_dict()
        source = pool[name].load_model().state_dict()
        for key, value in together.members[place].state_dict().items():
            assert torch.allclose(value.float(), alone[key].float(), rtol=1e-5, atol=1e-6), (name, key)
            if key.endswith(("running_mean", "running_var", "num_batches_tracked", "norm.weight", "0.weight")):
                assert not torch.equal(value, source[key]), (name, key)  # it did learn, and count its batches
        assert alone["body.stem.1.num_batches_tracked"] == source["body.stem.1.num_batches_tracked"] + SETTINGS.steps


def test_the_curve_has_the_first_and_the_last_step(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    module = train("ab", pool, target, tmp_path, SETTINGS)
    assert [sorted(point) for point in module.history] == [["loss/a", "loss/b", "step"]] * 2
    for name in "ab":
        (first, before), (last, after) = module.losses(name)
        assert (first, last) == (0, 3)
        assert 0 < after < before


def test_a_head_starts_alike_in_any_ensemble(pool: Pool) -> None:
    heads = []
    for names in ("ab", "ba", "b"):
        module = EnsembleTraining(SETTINGS, 3)
        module.set_members(list(names), [pool[name].load_model() for name in names])
        assert all(part.training for part in module.modules())
        heads.append(module.members[names.index("b")].get_parameter("head.weight"))
    assert torch.equal(heads[0], heads[1])
    assert torch.equal(heads[0], heads[2])
    assert len({head_seed(seed, name) for seed in (0, 1) for name in ("a", "c", "ab", "a" * 50)}) == 8


def test_a_loss_that_is_not_finite_stops_the_fit(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    huge = TrainingSettings(steps=3, batch_size=2, crop_size=32, learning_rate=1e30)
    with pytest.raises(TrainingDivergedError, match=r"loss of 'a' is (nan|inf) at step 2.*smaller learning_rate"):
        train("a", pool, target, tmp_path, huge)
