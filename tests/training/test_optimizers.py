"""AdamW, clipped gradients, warm-up, schedules and layer-wise decay, against figures worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import Tensor

from muster.errors import ConfigError
from muster.models import build_model, parameter_stages
from muster.training.idle_settings import idle_settings
from muster.training.modules import EnsembleTraining
from muster.training.optimizers import make_optimizer, rate_factor, with_schedule
from muster.training.settings import Schedule, SourceSettings, TrainingSettings


def rates(schedule: Schedule, steps: int, warmup: int, at: Iterable[int]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = with_schedule(optimizer, schedule, steps, warmup)["lr_scheduler"]["scheduler"]
    found = []
    for _ in range(steps + 2):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [found[step] for step in at]


def test_warm_up_rises_evenly_and_the_schedule_spans_the_rest() -> None:
    assert rates("cosine", 14, 4, range(5)) == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert rates("cosine", 14, 4, (9, 14, 15)) == pytest.approx([0.5, 0, 0])
    assert rates("poly", 14, 4, (3, 4, 9, 14)) == pytest.approx([1, 1, 0.5**0.9, 0])
    assert rates("step", 10, 4, range(10)) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 0.1, 0.1])
    assert [rate_factor("step", at, 12, 2, (0.3, 0.6)) for at in (4, 5, 7, 8, 11)] == pytest.approx(
        [1, 0.1, 0.1, 0.01, 0.01]
    )
    for shares in ((0.6, 0.3), (1.0,), (0.3, 0.3)):
        with pytest.raises(ConfigError, match="decay_after"):
            TrainingSettings(decay_after=shares)
    assert rate_factor("cosine", 3, 12) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_the_state_of_a_schedule_is_plain() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    state = with_schedule(optimizer, "cosine", 9, 2)["lr_scheduler"]["scheduler"].state_dict()
    assert all(isinstance(value, int | float | str | bool | list | None) for value in state.values())


def test_the_first_step_of_adamw_by_hand() -> None:
    model = build_model("small_fpn", 3, seed=0)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = make_optimizer([model], [0.01], TrainingSettings(optimizer="adamw", weight_decay=0.1))
    model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    optimizer.step()
    for name, value in model.named_parameters():
        assert value.grad is not None
        # Corrected for their beginning, the moments of one gradient are itself and its square.
        step = 0.01 * value.grad / (value.grad.abs() + 1e-8)
        decay = 0.01 * 0.1 * before[name] if value.ndim > 1 else 0  # biases and norms are spared
        assert torch.allclose(value.detach(), before[name] - decay - step, atol=1e-6), name


def test_layer_wise_rates_by_hand() -> None:
    model = build_model("small_fpn", 3)  # stem, three stages, pyramid, head
    settings = TrainingSettings(learning_rate=2.0, layer_decay=0.5)
    optimizer = make_optimizer([model], [2.0], settings)
    found = {value: group["lr"] for group in optimizer.param_groups for value in group["params"]}
    expected = {"body.stem": 2 / 32, "body.stages.0": 2 / 16, "body.stages.2": 2 / 4, "body.smooth": 1.0, "head": 2.0}
    for name, value in model.named_parameters():
        for beginning, rate in expected.items():
            if name.startswith(beginning):
                assert found[value] == pytest.approx(rate), name
        if name.startswith("body.laterals"):
            assert found[value] == pytest.approx(1.0), name  # of the pyramid, whatever map they read
    assert set(found) == set(model.parameters())


def test_stages_of_an_encoder_are_the_coarse_layers_of_timm() -> None:
    model = build_model("fpn:resnet18", 2)
    found = parameter_stages(model)
    stages = {name: found[value] for name, value in model.named_parameters()}
    network = timm.create_model("resnet18")
    for layer, names in group_parameters(network, network.group_matcher(coarse=True)).items():
        for name in names:
            if not name.startswith("fc."):
                assert stages[f"body.encoder.{name}"] == layer, name


@pytest.mark.parametrize("architecture", ["small_unet", "small_dilated", "unet:tu-tf_efficientnet_lite0"])
def test_every_trainable_parameter_has_a_stage_and_the_model_is_left_alone(architecture: str) -> None:
    model = build_model(architecture, 3, seed=1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stages = parameter_stages(model)
    assert set(stages) == {value for value in model.parameters() if value.requires_grad}
    assert sorted(set(stages.values())) == list(range(max(stages.values()) + 1))
    assert {stages[value] for value in model.head.parameters()} == {max(stages.values())}
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_gradient_is_clipped_member_by_member() -> None:
    models = [build_model("small_fpn", 3, seed=seed) for seed in (0, 1)]
    module = EnsembleTraining(TrainingSettings(clip_norm=0.5), 3, "ab", models)
    for scale, model in zip((100.0, 1e-6), models, strict=True):
        for value in model.parameters():
            value.grad = torch.full_like(value, scale)
    small = norm(models[1])
    module.on_before_optimizer_step(make_optimizer(models, [0.1, 0.1], module.settings))
    assert norm(models[0]).item() == pytest.approx(0.5, rel=1e-3)
    assert norm(models[1]) == small  # a long gradient beside it is no matter


def norm(model: torch.nn.Module) -> Tensor:
    return torch.stack([value.grad.norm() for value in model.parameters() if value.grad is not None]).norm()


def test_momentum_has_no_effect_on_adamw() -> None:
    assert "training.momentum" in idle_settings(TrainingSettings(optimizer="adamw"))
    assert "training.momentum" not in idle_settings(TrainingSettings())


def test_a_warm_up_below_one_is_a_share_of_the_steps() -> None:
    assert TrainingSettings(steps=400, warmup_steps=0.05).steps_of_warmup == 20
    assert TrainingSettings(steps=5, warmup_steps=0.05).steps_of_warmup == 0
    assert TrainingSettings(steps=5, warmup_steps=4).steps_of_warmup == 4
    assert TrainingSettings(steps=4, warmup_steps=0.9).steps_of_warmup == 3  # a schedule needs a step
    for wrong in (5, 1.5, -0.1, math.nan):
        with pytest.raises(ConfigError, match=r"warmup_steps: .*whole number, from 0 to 4, or a share"):
            TrainingSettings(steps=5, warmup_steps=wrong)


def test_a_plateau_halves_the_rate_of_each_member_as_torch_does() -> None:
    losses = ((3.0, 2.0, 2.0, 2.1, 1.99999, 1.0, 1.5, math.nan, 1.2), (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2))
    found: list[list[float]] = []
    for own in losses:  # torch's own, by itself
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        of_torch = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        found.append([])
        for loss in own:
            of_torch.step(loss)
            found[-1].append(optimizer.param_groups[0]["lr"])
    models = [build_model("small_fpn", 3, seed=seed) for seed in (0, 1)]
    both = make_optimizer(models, [0.4, 0.4], TrainingSettings(layer_decay=0.5))
    scheduler = with_schedule(both, "plateau", 100, patience=1)["lr_scheduler"]["scheduler"]
    for place, now in enumerate(zip(*losses, strict=True)):
        scheduler.watch(now)
        both.step()
        scheduler.step()
        head = {group["member"]: group["lr"] for group in both.param_groups if group["lr"] == max_of(both, group)}
        assert [head[0], head[1]] == pytest.approx([found[0][place], found[1][place]]), place
    assert found[0][-1] == pytest.approx(0.1)
    assert found[1][-1] == pytest.approx(0.4)


def max_of(optimizer: torch.optim.Optimizer, group: dict[str, object]) -> float:
    """The rate of a member's head."""
    return max(float(each["lr"]) for each in optimizer.param_groups if each["member"] == group["member"])


def test_a_constant_rate_stays_and_a_plateau_needs_images_to_look_at() -> None:
    assert rates("constant", 6, 2, range(6)) == pytest.approx([0.5, 1, 1, 1, 1, 1])
    with pytest.raises(ConfigError, match=r"validation_fraction: expected more than 0 with schedule plateau"):
        SourceSettings(schedule="plateau")
    watching = TrainingSettings(schedule="plateau")
    assert (
        not {"training.patience", "training.validate_every", "training.held_out_fraction"}
        & idle_settings(watching).keys()
    )
    assert {"training.patience", "training.validate_every"} <= idle_settings(TrainingSettings()).keys()
    source = SourceSettings(schedule="plateau", validation_fraction=0.1)
    assert "training.held_out_fraction" in idle_settings(source)
    assert {"patience", "validate_every"} <= watching.described().keys()
    assert not {"patience", "validate_every"} & TrainingSettings().described().keys()
