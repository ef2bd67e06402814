"""How much of a member fine-tuning changes: everything, its head on kept features, or its head and LoRA."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from muster.data import Dataset, prepare_image
from muster.errors import ConfigError
from muster.models import SourceModel, build_model
from muster.models.sources.backbone import Backbone
from muster.tasks.segmentation import SEGMENTATION
from muster.training.adaptation import adapt_member, attention_layers, merge_adapters
from muster.training.finetuning import fit_members
from muster.training.fitting import fit
from muster.training.frozen import FrozenBatch, FrozenData, FrozenFeatures
from muster.training.hardware import Hardware
from muster.training.idle_settings import idle_settings
from muster.training.modules import EnsembleTraining
from muster.training.settings import SourceSettings, TrainingSettings
from muster.training.target_data import TargetData
from tests.helpers import shown, upsampled

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

FROZEN = TrainingSettings(steps=4, batch_size=2, learning_rate=0.1, checkpoint_every=2, seed=3, adapt="frozen")
LORA = replace(FROZEN, adapt="lora", lora_rank=2, steps=2, crop_size=64, learning_rate=0.05)


class Stop(pl.Callback):
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == 3:
            raise InterruptedError


def module_of(settings: TrainingSettings, architecture: str = "small_fpn") -> EnsembleTraining:
    module = EnsembleTraining(settings, 3)
    module.set_members(("a",), (build_model(architecture, 5, seed=1).eval(),))
    return module


def frozen(target: Dataset, folder: Path, room: int = 1 << 30, *callbacks: pl.Callback) -> dict[str, Tensor]:
    module = module_of(FROZEN)
    data = FrozenData(target.train, shown(target.train, 64), FROZEN, FrozenFeatures(room))
    fit(module, data, folder, Hardware("cpu"), callbacks)
    return module.members[0].state_dict()


def test_a_frozen_member_learns_its_head_alone_with_or_without_room_for_features(
    target: Dataset, tmp_path: Path
) -> None:
    kept = frozen(target, tmp_path / "kept")
    before = module_of(FROZEN).members[0].state_dict()
    for name, value in kept.items():
        assert torch.equal(value, before[name]) == (not name.startswith("head.")), name
    uncached = frozen(target, tmp_path / "uncached", 0)
    assert all(torch.equal(value, kept[name]) for name, value in uncached.items())
    with pytest.raises(InterruptedError):
        frozen(target, tmp_path / "stopped", 1 << 30, Stop())
    resumed = frozen(target, tmp_path / "stopped")
    assert all(torch.equal(value, kept[name]) for name, value in resumed.items())


def test_a_frozen_backbone_gets_a_head_on_its_stages_and_a_trained_one_a_decoder(
    target: Dataset, tmp_path: Path
) -> None:
    def backbone(settings: TrainingSettings) -> EnsembleTraining:
        module = EnsembleTraining(settings, 3)
        module.set_members(("a",), (Backbone(build_model("fpn:tu-test_efficientnet", 1, seed=1)),))
        return module

    module = backbone(FROZEN)
    before = {name: value.clone() for name, value in module.models["a"].state_dict().items()}
    assert not any(name.startswith("body.decoder.") for name in before)
    data = TargetData(target, target.train, shown(target.train, 64))
    fit_members(module, data, tmp_path, Hardware("cpu"))
    after = module.models["a"].state_dict()
    assert {name for name, value in after.items() if not torch.equal(value, before[name])} == {
        "head.weight",
        "head.bias",
    }
    decoded = backbone(replace(FROZEN, adapt="full")).models["a"]
    assert any(name.startswith("body.decoder.") for name in decoded.state_dict())
    assert all(torch.equal(value, decoded.state_dict()[name]) for name, value in before.items() if "head" not in name)


def test_kept_features_are_those_of_whole_images_and_their_mirror_images(target: Dataset) -> None:
    module, preprocessing = module_of(FROZEN).eval(), shown(target.train, 64)
    member = module.models["a"]
    data = FrozenData(target.train, preprocessing, FROZEN, FrozenFeatures())
    batch, masks = data.on_after_batch_transfer([torch.tensor([0, 0]), torch.tensor([False, True])], 0)
    assert isinstance(batch, FrozenBatch)
    sample = target.train[0]
    images = torch.stack([prepare_image(sample.image, preprocessing)] * 2)
    images[1] = images[1].flip(-1)
    with torch.no_grad():
        expected = member(images)
        cells = tuple(-(-side // 4) for side in images.shape[2:])  # of four pixels each
        features = upsampled(member.features(images), images.shape[2:], cells).float()
        torch.testing.assert_close(batch.features("a", member), features, rtol=0, atol=1e-5)
    assert masks.shape[-2:] == images.shape[-2:]
    assert torch.equal(masks[1], masks[0].flip(-1))
    other, _ = data.on_after_batch_transfer([torch.tensor([0, 1]), torch.tensor([False, False])], 0)
    sizes = {tuple(prepare_image(target.train[place].image, preprocessing).shape) for place in (0, 1)}
    assert other.features("a", member).shape[0] == 2  # of one size, whatever the images'
    assert len(sizes) in (1, 2)
    assert SEGMENTATION.loss(expected, masks).isfinite()


def test_lora_merged_into_the_weights_equals_lora_beside_them(target: Dataset, tmp_path: Path) -> None:
    module = module_of(LORA, "unet:mit_b0")
    member, names = module.models["a"], set(build_model("unet:mit_b0", 3).state_dict())
    before = {name: value.clone() for name, value in member.state_dict().items()}
    trained = {name for name, value in member.named_parameters() if value.requires_grad}
    assert trained
    assert all("lora_" in name or name.startswith("head.") for name in trained)
    data = TargetData(target, target.train, shown(target.train, 64))
    seen: list[Tensor] = []

    class Look(pl.Callback):
        def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            after = pl_module.members[0].state_dict()
            for name, value in after.items():
                assert torch.equal(value, before[name]) == (name not in trained), name
            seen.append(scores_of(member))

    fit_members(module, data, tmp_path, Hardware("cpu"), [Look()])
    assert set(member.state_dict()) == names  # nothing of peft's is left
    torch.testing.assert_close(scores_of(member), seen[0], rtol=1e-4, atol=1e-5)
    fresh = module_of(replace(LORA, adapt="full"), "unet:mit_b0").models["a"]
    assert (scores_of(fresh) - seen[0]).abs().max() > 1e-3


@torch.no_grad()
def scores_of(model: SourceModel) -> Tensor:
    return model.eval()(torch.ones(1, 3, 64, 64))


def test_lora_starts_alike_and_leaves_global_randomness_alone() -> None:
    state = torch.random.get_rng_state()
    first, second = (module_of(LORA, "unet:mit_b0").state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_lora_needs_attention_and_merging_leaves_other_networks_alone() -> None:
    model = build_model("small_unet", 3)
    assert attention_layers(model) == []
    with pytest.raises(ConfigError, match=r"training\.adapt: lora .* 'b' \(small_unet\) has none"):
        adapt_member("b", model, "lora", 4, 0)
    before = list(model.state_dict())
    merge_adapters(model)
    assert list(model.state_dict()) == before


def test_what_has_no_effect_or_no_sense_is_told() -> None:
    idle = idle_settings(FROZEN)
    assert {"training.crop_size", "training.layer_decay", "training.lora_rank"} <= set(idle)
    assert "training.lora_rank" not in idle_settings(LORA)
    with pytest.raises(ConfigError, match=r"^adapt: expected full"):
        SourceSettings(adapt="frozen")
