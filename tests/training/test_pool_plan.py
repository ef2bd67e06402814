"""Plans of pools, spelt out and checked at the door."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import yaml
from safetensors.torch import save_file

from muster.commands.main import start
from muster.errors import ConfigError, DatasetError, PretrainingError
from muster.files import sha256_of
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.multi_source_plan import MultiSource
from muster.training.plan_entries import Network, Override
from muster.training.pool_plan import PoolPlan, member_name, plan_jobs
from muster.training.settings import SourceSettings

SETTINGS = SourceSettings(steps=10, learning_rate=0.5)


def plan(**changes: Any) -> list[MemberJob]:
    parts = {"datasets": ["worlds/attic", "worlds/harbour_drive"], "architectures": ["small_fpn", "fpn:resnet18"]}
    return plan_jobs(PoolPlan(**{**parts, **changes}), SETTINGS, Path("pool"), Hardware("cpu"))


def test_every_dataset_with_every_architecture_and_pretraining() -> None:
    jobs = plan(pretrainings=["none", "imagenet"])
    assert [job.name for job in jobs] == [
        "attic-small_fpn", "attic-small_fpn-imagenet", "attic-fpn_resnet18", "attic-fpn_resnet18-imagenet",
        "harbour_drive-small_fpn", "harbour_drive-small_fpn-imagenet", "harbour_drive-fpn_resnet18",
        "harbour_drive-fpn_resnet18-imagenet",
    ]  # fmt: skip
    last = jobs[-1]
    assert (last.dataset, last.architecture, last.pretraining) == ("worlds/harbour_drive", "fpn:resnet18", "imagenet")
    assert {job.settings for job in jobs} == {SETTINGS}
    assert last.work == Path("pool/work/harbour_drive-fpn_resnet18-imagenet")
    assert last.folder == Path("pool/members/harbour_drive-fpn_resnet18-imagenet")


def test_networks_name_what_each_starts_from(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_file({k: v.contiguous() for k, v in timm.create_model("resnet10t").state_dict().items()}, weights)
    networks = [Network("fpn:tu-resnet10t", "imagenet", weights), Network("small_fpn"), Network("fpn:tu-resnet10t")]
    jobs = plan(architectures=["small_unet"], networks=networks)
    assert [job.name for job in jobs] == [
        "attic-small_unet", "harbour_drive-small_unet", "attic-fpn_tu-resnet10t-imagenet",
        "harbour_drive-fpn_tu-resnet10t-imagenet", "attic-small_fpn", "harbour_drive-small_fpn",
        "attic-fpn_tu-resnet10t", "harbour_drive-fpn_tu-resnet10t",
    ]  # fmt: skip
    assert (jobs[2].pretraining, jobs[2].start) == ("imagenet", str(weights))
    elsewhere = tmp_path / "elsewhere.safetensors"
    weights.rename(elsewhere)
    assert replace(jobs[2], weights=elsewhere).recipe["starts_from"] == sha256_of(elsewhere)
    with pytest.raises(PretrainingError, match="do not exist"):
        plan(networks=networks)
    with pytest.raises(PretrainingError, match=r"of its .* tensors are in the file"):
        plan(networks=[Network("fpn:resnet34", "imagenet", elsewhere)])


def test_a_network_may_be_trained_on_some_of_the_datasets() -> None:
    networks = [Network("encoder:resnet18", datasets=("worlds/attic",)), Network("small_unet")]
    jobs = plan(architectures=[], networks=networks)
    assert [job.name for job in jobs] == ["attic-encoder_resnet18", "attic-small_unet", "harbour_drive-small_unet"]
    with pytest.raises(ConfigError, match=r"plan.networks, small_fpn: .*'worlds/atic'. Did you mean 'worlds/attic'"):
        plan(networks=[Network("small_fpn", datasets=("worlds/atic",))])


def test_weights_of_a_network_need_a_word_for_what_they_have_learned() -> None:
    with pytest.raises(ConfigError, match="say what they have learned"):
        Network("small_fpn", weights=Path("w.safetensors"))
    with pytest.raises(ConfigError, match="expected a word"):
        Network("small_fpn", "some/where.safetensors", Path("w.safetensors"))


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("CamVid", "unet:tu-resnet10t", "none"), "CamVid-unet_tu-resnet10t"),
        (("a b/c", "hrnet_w18", "/some where/my weights.v2.safetensors"), "a_b_c-hrnet_w18-my_weights.v2"),
        (("größer", "small_fpn", "imagenet"), "größer-small_fpn-imagenet"),
    ],
)
def test_names_are_fit_for_folders(parts: tuple[str, str, str], name: str) -> None:
    assert member_name(*parts) == name


def test_the_last_override_that_matches_wins() -> None:
    jobs = plan(overrides=[
        Override("*", steps=20, batch_size=4),
        Override("attic-*", steps=30, learning_rate=0.1),
        Override("?????-fpn_resnet18", steps=40, schedule="poly"),
    ])  # fmt: skip
    told = {job.name: (job.settings.steps, job.settings.learning_rate, job.settings.schedule) for job in jobs}
    assert told == {
        "attic-small_fpn": (30, 0.1, "step"),
        "attic-fpn_resnet18": (40, 0.1, "poly"),
        "harbour_drive-small_fpn": (20, 0.5, "step"),
        "harbour_drive-fpn_resnet18": (20, 0.5, "step"),
    }
    assert {job.settings.batch_size for job in jobs} == {4}


def test_an_override_may_name_datasets() -> None:
    jobs = plan(overrides=[
        Override(datasets=["worlds/attic"], crop_size="24x48"),
        Override("*-fpn_resnet18", datasets=["worlds/attic"], step_counts=[5, 6]),
    ])  # fmt: skip
    told = {job.name: (job.settings.crop_size, job.settings.step_counts) for job in jobs}
    assert told == {
        "attic-small_fpn": ("24x48", ()),
        "attic-fpn_resnet18": ("24x48", (5, 6)),
        "harbour_drive-small_fpn": (None, ()),
        "harbour_drive-fpn_resnet18": (None, ()),
    }
    with pytest.raises(ConfigError, match=r"no member matches '\*' on worlds/atic\."):
        plan(overrides=[Override(datasets=["worlds/atic"], steps=3)])
    override = Override(datasets=["worlds/attic"], steps=3)
    assert override.to_mapping() == {"members": "*", "datasets": ["worlds/attic"], "steps": 3}


def test_a_dataset_of_a_plan_may_say_how_many_images(dataset_folder: Path) -> None:
    folder = str(dataset_folder)
    overrides = [Override("*", train_images=5)]
    datasets = [folder, f"{folder}@2", "worlds/attic", "worlds/attic@30"]
    jobs = plan(datasets=datasets, architectures=["small_fpn"], overrides=overrides)
    assert [(job.name, job.dataset, job.settings.train_images) for job in jobs] == [
        ("tiny-small_fpn", folder, 5),
        ("tiny_2-small_fpn", folder, 2),
        ("attic-small_fpn", "worlds/attic", 5),
        ("attic_30-small_fpn", "worlds/attic@30", 5),
    ]
    with pytest.raises(ConfigError, match="tiny@9 asks for 9 training images, but 'tiny' has 6"):
        plan(datasets=[f"{folder}@9"])
    with pytest.raises(ConfigError, match="tiny@2: the number of training images is the same for all"):
        plan(datasets=[f"{folder}@2", "worlds/attic"], multi_source=[MultiSource("small_fpn")])


def test_a_folder_may_have_such_a_name(dataset_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny@2").symlink_to(dataset_folder)
    (job,) = plan(datasets=[str(tmp_path / "tiny@2")], architectures=["small_fpn"])
    assert (job.name, job.settings.train_images) == ("tiny-small_fpn", None)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"overrides": [Override("Attic-*", steps=1)]}, ConfigError, "no member matches 'Attic-\\*'.*attic-small_fpn"),
        ({"overrides": [Override("*", steps=0)]}, ConfigError, "steps: expected a whole number"),
        ({"datasets": ["worlds/attic", "worlds/attic"]}, ConfigError, "more than one member would be named attic-"),
        ({"pretrainings": ["none", "none"]}, ConfigError, "more than one member would be named attic-"),
        ({"pretrainings": []}, ConfigError, "expected at least one dataset"),
        ({"datasets": []}, ConfigError, "expected at least one dataset"),
        ({"architectures": ["small_fpn", "small_fpm"]}, ConfigError, "Did you mean 'small_fpn'"),
        ({"overrides": [Override("*", normalisation="pretraining")]}, ConfigError, "attic-small_fpn: normalis.*random"),
        ({"datasets": ["worlds/atic"]}, DatasetError, "Did you mean 'attic'"),
    ],
)
def test_what_cannot_work_is_refused_at_the_door(changes: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        plan(**changes)


def test_an_override_takes_every_setting_null_included() -> None:
    base = SourceSettings(crop_size=64, train_images=5, sample_images=7, learning_rates=(0.1, 0.2))
    nothing = Override("*", crop_size=None, train_images=None, sample_images=None).apply(base)
    assert (nothing.crop_size, nothing.train_images, nothing.sample_images) == (None, None, None)
    other = {
        "steps": 7, "batch_size": 3, "learning_rate": 0.3, "learning_rates": [0.4], "held_out_fraction": 0.3,
        "schedule": "poly", "momentum": 0.5, "weight_decay": "1e-3", "loss": "probabilities", "crop_size": 32,
        "scale_range": [1.0, 2.0], "checkpoint_every": 9, "seed": 4, "image_size": 96, "train_images": 8,
        "validation_fraction": 0.2, "validate_every": 6, "sample_images": 9,
        "normalisation": "pretraining",
    }  # fmt: skip
    assert {field.name for field in fields(SourceSettings)} <= set(Override.kinds())
    changed = asdict(Override("*", **other).apply(base))
    assert {name: changed[name] for name in other} == {
        **other, "learning_rates": (0.4,), "scale_range": (1.0, 2.0), "weight_decay": 1e-3,
    }  # fmt: skip
    assert Override.from_mapping(Override("a", **other).to_mapping()) == Override("a", **other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"step": 3}, "Did you mean 'steps'"), ({"steps": None}, "steps: expected a whole number, but got nothing")],
)
def test_an_override_of_something_else_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Override("*", **settings)


def test_the_command_reads_and_writes_overrides_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [{"members": "attic-*", "crop_size": None, "steps": 3}]
    with pytest.raises(SystemExit):
        start("train", arguments=["--plan.overrides", json.dumps(given), "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["plan"]["overrides"] == given
