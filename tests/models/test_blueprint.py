"""Networks that are built again from what a card holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from muster.data import ChannelStatistics
from muster.errors import ConfigError, PoolError
from muster.files import read_yaml, write_yaml
from muster.models import SOURCES, Blueprint, build_model, rebuild
from muster.pool import CARD, Member
from muster.training.ensemble_card import CARD as ENSEMBLE_CARD
from muster.training.finetuned_ensemble import Ensemble, load_ensemble
from tests.helpers import make_member, shown

TRAINING_RECORD = (
    "image_size", "crop_size", "train_images", "test_images", "test_result", "test_ious", "majority_result", "steps",
    "batch_size", "learning_rate", "schedule", "seed", "training_seconds", "precision", "recipe",
)  # fmt: skip


def test_a_native_network_is_built_by_name() -> None:
    model = build_model("small_unet", 4)
    assert model.blueprint == Blueprint("native", "small_unet")
    again = rebuild(model.blueprint, 4)
    again.load_state_dict(model.state_dict())
    assert again.num_classes == 4


def test_a_source_that_is_not_known() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'native'"):
        rebuild(Blueprint("nativ", "small_unet"), 4)
    assert "native" in SOURCES.names()


def test_a_card_needs_no_training_record_and_no_blueprint(tmp_path: Path) -> None:
    member = make_member(tmp_path, "a", 1)
    content = read_yaml(member.folder / CARD, PoolError)
    for key in ("blueprint", "weights_licence"):  # a card from before
        content.pop(key)
    write_yaml(member.folder / CARD, content)
    assert Member.open(member.folder) == member
    for key in TRAINING_RECORD:
        content.pop(key)
    write_yaml(member.folder / CARD, content)
    opened = Member.open(member.folder)
    assert opened.card.test_result is None
    assert opened.problem() is None


def test_a_card_with_a_blueprint_comes_back(tmp_path: Path) -> None:
    member = make_member(tmp_path, "a", 1)
    blueprint = Blueprint("native", "small_fpn", {"nested": {"list": [1, None, "x"], "1": 0.5}})
    content = read_yaml(member.folder / CARD, PoolError)
    content["blueprint"] = {"source": "native", "architecture": "small_fpn", "config": blueprint.config}
    write_yaml(member.folder / CARD, content)
    opened = Member.open(member.folder)
    assert opened.card == replace(member.card, blueprint=blueprint)
    assert opened.problem() is None


def test_an_ensemble_from_before_has_no_blueprints(tmp_path: Path) -> None:
    member = build_model("small_fpn", 2)
    ensemble = Ensemble(["a"], [member], ["x", "y"], shown(ChannelStatistics((0.5,) * 3, (0.2,) * 3), 64))
    ensemble.save(tmp_path / "e", "target", {})
    path = tmp_path / "e" / ENSEMBLE_CARD
    content = read_yaml(path, PoolError)
    assert content.pop("blueprints") == [
        {"source": "native", "architecture": "small_fpn", "config": {}, "new_head": False}
    ]
    write_yaml(path, content)
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)
    assert torch.equal(load_ensemble(tmp_path / "e").predict(image), ensemble.eval().predict(image))
