"""The configs of A22's pools and studies: what they hold, and that their networks train at their crops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from muster.commands.cli import build_parser
from muster.commands.foreseen_pools import config_of
from muster.commands.main import COMMANDS, CONFIGS, start
from muster.data import ImageSize
from muster.data.published import published_named
from muster.errors import PoolError
from muster.models import build_model
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.modules import EnsembleTraining
from muster.training.planned_source import foresee_source
from muster.training.pool_plan import spell_out
from muster.training.settings import SourceSettings
from tests.helpers import make_target, shown

CPU = ["--hardware.device", "cpu"]


def jobs_of(config: str) -> list[MemberJob]:
    parser = build_parser(COMMANDS["train"].function(), "train", None)
    values = parser.instantiate(parser.parse_args([f"--config={CONFIGS / 'train' / config}"]))
    jobs, _ = spell_out(values.plan, values.training, values.output, Hardware("cpu"), open_one=foresee_source)
    return jobs


@pytest.fixture(scope="module")
def jobs() -> dict[tuple[str, str], MemberJob]:
    """The members of both pools with ImageNet, by dataset and architecture."""
    every = [*jobs_of("a22.yaml"), *jobs_of("a22-large.yaml")]
    return {(job.dataset, job.architecture): job for job in every if job.pretraining == "imagenet"}


@pytest.mark.parametrize(("config", "members"), [("a22.yaml", 68), ("a22-large.yaml", 17)])
def test_a_dry_run_needs_neither_data_nor_weights(
    config: str, members: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert start("train", arguments=["--config", str(CONFIGS / "train" / config), "--dry_run", *CPU]) == 0
    told = capsys.readouterr().out
    assert f"{members} members, {members} to train." in told
    assert len(re.findall(r"^\S+-(?:hrnet_w\d\d|resnet23m)-\w+ ", told, re.MULTILINE)) == members
    assert ("hrnet_w28-simclr.safetensors" in told) == (members == 68)
    assert list(tmp_path.iterdir()) == []


def test_crops_are_the_authors_and_images_cover_them(jobs: dict[tuple[str, str], MemberJob]) -> None:
    assert len(jobs) == 3 * 17
    for (dataset, _), job in jobs.items():
        known = published_named(dataset.rpartition(":")[2])
        size = ImageSize.of(job.settings.image_size)
        assert job.settings.crop_for(size) == known.crop_size, dataset
        assert known.crop_size is not None
        assert size.shorter == min(known.crop_size)
        assert (job.settings.schedule == "poly") == (dataset in {"kitti", "suim"})  # M21 A.2
        assert len(job.settings.tried_rates) == 3  # M21 5.1
        assert job.settings.decay_after == ()  # after 2/3 of the steps, A22 B


@pytest.mark.parametrize(
    ("architecture", "dataset", "crop"),
    [
        ("hrnet_w28", "vkitti2", (375, 1242)),
        ("resnet23m", "cityscapes:cityscapes33", (512, 1024)),
        ("hrnet_w48", "camvid", (624, 832)),
    ],
)
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_each_architecture_trains_two_steps_at_a_crop_of_its_own(
    architecture: str, dataset: str, crop: tuple[int, int], jobs: dict[tuple[str, str], MemberJob], tmp_path: Path
) -> None:
    asked = jobs[dataset, architecture].settings
    assert asked.crop_for(ImageSize.of(asked.image_size)) == crop
    reduced = f"{round(crop[0] / 13)}x{round(crop[1] / 13)}"
    settings = SourceSettings(
        steps=2, batch_size=2, crop_size=reduced, image_size=64, schedule=asked.schedule, loss=asked.loss,
        learning_rate=asked.learning_rates[-1], weight_decay=asked.weight_decay, checkpoint_every=9,
    )  # fmt: skip
    target = make_target(3)
    model = build_model(architecture, 3)
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.ndim > 1}
    module = EnsembleTraining(settings, 3, ("member",), (model,))
    fit(module, FitData(target.train, shown(target.train, 64), settings), tmp_path, Hardware("cpu"))
    assert len(module.losses("member")) == 2
    moved = [not torch.equal(value, before[name]) for name, value in model.named_parameters() if name in before]
    assert all(moved)


def test_a_study_is_foreseen_before_its_pools_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = CONFIGS / "study"
    assert start("study", arguments=["--config", str(study / "a22-metrics.yaml"), "--dry_run", *CPU]) == 0
    told = capsys.readouterr().out
    lines = [line.split() for line in told.splitlines() if "(few)" in line]
    assert len(lines) == 5
    for line in lines:  # by hand: 15 fits of 400 steps, and of each of four kinds three rates; 455 triples, 15 alone
        assert line[-5:] == ["64", "15", "15", "10,800", "470"]
    assert "75 fits." in told
    assert "members are those of configs/train/a22.yaml" in told
    assert start("study", arguments=["--config", str(study / "a22-selection.yaml"), "--dry_run", *CPU]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "(few)" in line]
    assert len(lines) == 17
    assert {(line[-5], line[-4]) for line in lines} == {("64", "5")}  # three, B1 and B1L
    images = {" ".join(line[:-8]): line[-8] for line in lines}
    assert {name for name, count in images.items() if count == "1,000"} == {"ADE20K (few)", "COCO Panoptic (few)"}
    assert start("study", arguments=["--config", str(study / "b21-detection.yaml"), "--dry_run", *CPU]) == 0
    told = capsys.readouterr().out
    assert (
        "Memory and disk: not known. Left out: adopted members, whose networks are known once they are there (6)."
        in told
    )
    lines = [line.split() for line in told.splitlines() if line.startswith("VOC2007 boxes (all)")]
    assert [line[-8:] for line in lines] == [["5,011", "4,952", "384x384", "6", "6", "6", "40,000", "6"]]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PoolError, match="runs/pools/mine is no pool yet"):
        config_of(Path("runs/pools/mine"))


def test_every_target_has_the_crop_of_its_source(jobs: dict[tuple[str, str], MemberJob]) -> None:
    for name in ("a22-metrics.yaml", "a22-selection.yaml", "m21-resnet50.yaml"):
        content = yaml.safe_load((CONFIGS / "study" / name).read_text("utf-8"))
        told = {target: entry for entry in content["per_target"] for target in entry["targets"]}
        assert set(told) == set(content["targets"])
        for target, entry in told.items():
            source = jobs[target, "hrnet_w28"].settings
            assert (entry["image_size"], entry["crop_size"]) == (source.image_size, source.crop_size)
            assert entry.get("schedule", content["training"]["schedule"]) == source.schedule
