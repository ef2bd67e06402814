"""Image classifiers that others trained, as members: from their files to a fine-tuned ensemble."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml

import muster
from muster import load_ensemble, select
from muster.commands.main import start
from muster.data import Dataset, open_dataset
from muster.errors import ConfigError, PoolError, SelectionError
from muster.files import read_yaml
from muster.models.adoption import Adoption
from muster.pool import Member, Pool
from muster.pool.page import inherited_licences
from muster.selection import Selection
from muster.selection.given_models import members_from
from muster.training.adaptation import adapt_member, head_of, merge_adapters
from muster.training.adoption import AdoptionJob, adopt_member
from muster.training.hardware import Hardware
from muster.training.pool_training import FAILURES
from tests.data.layout_writers import save
from tests.helpers import make_member
from tests.models import classifier_makers as makers
from tests.models.makers import lively

BUILDERS = "classifier_makers_for_adoption"
CLASSES = ["cat", "dog", "owl", "fox"]
STATISTICS: dict[str, Any] = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}

pytestmark = [
    pytest.mark.filterwarnings("ignore:The card.s. of"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    sys.modules[BUILDERS] = makers
    yield
    del sys.modules[BUILDERS]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    makers.save_timm(folder / "timm", "test_resnet", seed=1)
    makers.save_torchvision_classifier(folder / "shufflenet.pth", seed=2)
    makers.save_vit(folder / "vit", seed=3)
    makers.save_own(folder / "own.safetensors", seed=4)
    return folder


@pytest.fixture(scope="module")
def pool(files: Path) -> Pool:
    """One of each library, one with data of another kind, and a network of muster's that segments."""
    own = {"from": "python", "model": f"{BUILDERS}:build_plain_classifier", "weights": str(files / "own.safetensors"),
           "classes": CLASSES, **STATISTICS}  # fmt: skip
    adopt = [
        {"name": "timm", "from": "timm", "model": str(files / "timm"), "dataset": "animals",
         "image_size": "shorter:72/64x64"},
        {"name": "shufflenet", "from": "torchvision", "model": "shufflenet_v2_x0_5", "dataset": "animals",
         "weights": str(files / "shufflenet.pth"), "classes": CLASSES, "image_size": "shorter:72/64x64"},
        {"name": "vit", "from": "transformers", "model": str(files / "vit"), "dataset": "animals"},
        {"name": "own", **own, "dataset": "animals", "licence": "ours"},
        {"name": "wrong", **own, "data": "worlds/attic"},
    ]  # fmt: skip
    path = files / "pool.yaml"
    path.write_text(yaml.safe_dump({"plan": {"adopt": adopt}, "output": str(files / "pool")}), "utf-8")
    assert start("train", arguments=["--config", str(path)]) == 1  # one failed
    make_member(files / "pool", "segmenter", 1)
    return Pool.open(files / "pool")


@pytest.fixture(scope="module")
def target() -> Dataset:
    return open_dataset("scenes/places")


@pytest.fixture(scope="module")
def selection(pool: Pool, target: Dataset) -> Selection:
    with pytest.warns(UserWarning, match="no score|do not say"):
        return select(pool, target, size=2, train_images=40, metric="e_leep", cache_gb=0.0, device="cpu", resamples=0)


def test_members_say_what_they_are(pool: Pool, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [member.name for member in pool] == ["own", "segmenter", "shufflenet", "timm", "vit"]
    failures = read_yaml(files / "pool" / FAILURES, PoolError)
    assert "worlds/attic is for segmentation, but the model is for classification" in str(failures["wrong"])
    for name in ("own", "shufflenet", "timm", "vit"):
        card = pool[name].card
        assert (card.task, card.classes, card.is_adopted) == ("classification", tuple(CLASSES), True)
        assert pool[name].problem() is None
    assert pool["vit"].card.image_size == "48x48"
    assert pool["timm"].card.image_size == "shorter:72/64x64"
    assert inherited_licences(pool["own"].card)["weights of own, which others trained"] == "ours"
    capsys.readouterr()
    assert start("train", arguments=["--output", str(files / "pool"), "--verify"]) == 0
    assert start("train", arguments=["--output", str(files / "pool"), "--list"]) == 0
    assert "5 of 5 members match" in capsys.readouterr().out


def test_they_are_selected_for_images_and_not_for_pixels(pool: Pool, selection: Selection) -> None:
    assert set(selection.member_scores) == {"own", "segmenter", "shufflenet", "timm", "vit"}
    with pytest.raises(SelectionError, match="was trained for classification, with one prediction for a whole image"):
        select(pool, "worlds/attic", size=2, train_images=4, cache_gb=0.0)


@pytest.mark.filterwarnings("ignore:Metric .base")
def test_two_are_fine_tuned_and_predict(pool: Pool, files: Path, target: Dataset) -> None:
    folder = files / "two"
    (folder / "members").mkdir(parents=True)
    for name in ("timm", "vit"):
        (folder / "members" / name).symlink_to(pool[name].folder)

    out, run = files / "selected", files / "tuned"
    common = ["--pool", str(folder), "--target", "scenes/places", "--cache_gb", "0", "--size", "2", "--train_images"]
    assert start("select", arguments=[*common, "30", "--output", str(out), "--resamples", "0", "--device", "cpu"]) == 0
    tune = ["--selection", str(out), "--output", str(run), "--training.steps", "3", "--training.batch_size", "4",
            "--head.optimizer", "lbfgs", "--hardware.device", "cpu"]  # fmt: skip
    assert start("finetune", arguments=tune) == 0
    ensemble = load_ensemble(run)
    assert ensemble.is_pooled
    probabilities = ensemble.classify(target.test[0].image)
    assert probabilities.shape == (len(target.spec.classes),)
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)
    before = pool["vit"].load_model().state_dict()
    after = ensemble.models["vit"].state_dict()
    body = [key for key in before if "head" not in key and before[key].is_floating_point()]
    assert any(not torch.equal(before[key], after[key]) for key in body)


@pytest.mark.parametrize("adapt", ["frozen", "lora"])
def test_parts_of_a_classifier_are_fine_tuned(pool: Pool, target: Dataset, adapt: Any) -> None:
    model = pool["vit"].used_for(target.spec).load_model()
    model.replace_head(3, seed=0)
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    before = model(images)
    adapt_member("vit", model, adapt, rank=2, seed=0)
    torch.testing.assert_close(model(images), before)
    trained = {place for place, value in model.named_parameters() if value.requires_grad}
    assert {id(value) for value in head_of(model).parameters()} <= {
        id(value) for value in model.parameters() if value.requires_grad
    }
    assert any("lora_" in place for place in trained) == (adapt == "lora")
    assert all("lora_" in place or ".head." in place for place in trained)
    merge_adapters(model)
    torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-5)


def test_models_are_ranked_as_they_are_at_hand(files: Path, target: Dataset) -> None:
    models: dict[str, Any] = {
        "hub folder": str(files / "timm"),
        "timm": lively(timm.create_model("test_resnet", num_classes=5)),
        "transformers": str(files / "vit"),
        "own": makers.PlainClassifier(),
    }
    table = muster.rank(models, target, train_images=12, image_size=32, device="cpu", show=False)
    assert set(table.index) == set(models)
    assert table.attrs["normalised_as_target"] == ["own"]
    assert table["linear_probe"].between(0, 1).all()


def test_classes_that_do_not_exclude_one_another_make_a_member_of_that_task(files: Path) -> None:
    network = makers.save_vit(files / "several", seed=5)
    network.config.problem_type = "multi_label_classification"
    network.save_pretrained(files / "several")
    models = {
        "vit": str(files / "several"),
        "held": network,
        "timm": {"model": lively(timm.create_model("test_resnet", num_classes=5)), "task": "multilabel"},
        "one": str(files / "vit"),
    }
    found = {member.name: member.card.task for member in members_from(models)}
    assert found == {"vit": "multilabel", "held": "multilabel", "timm": "multilabel", "one": "classification"}
    with pytest.raises(ConfigError, match="has scores for whole images, which those for segmentation are not"):
        members_from({"model": makers.PlainClassifier(), "task": "segmentation"})
    with pytest.raises(ConfigError, match=r"multilable.*Did you mean 'multilabel'"):
        members_from({"model": makers.PlainClassifier(), "task": "multilable"})


def test_a_source_sample_has_each_class_of_an_image(files: Path, tmp_path: Path) -> None:
    for split, count in (("train", 6), ("test", 2)):
        lines = ["image,labels"]
        for number in range(count):
            save(tmp_path / "data" / f"{split}{number}.png", np.full((48, 48, 3), 20 * number, np.uint8))
            lines.append(f"{split}{number}.png,{';'.join(CLASSES[: number % 4])}")
        (tmp_path / "data" / f"{split}.csv").write_text("\n".join(lines))
    (tmp_path / "data/dataset.yaml").write_text(f"classes: [{', '.join(CLASSES)}]\n")
    entry = {"name": "several", "from": "transformers", "model": str(files / "vit"), "data": str(tmp_path / "data")}
    job = AdoptionJob(tmp_path / "pool", Adoption.from_mapping({**entry, "task": "multilabel"}), Hardware("cpu"))
    adopt_member(job)
    member = Member.open(job.folder)
    assert (member.card.task, member.problem()) == ("multilabel", None)
    labels = member.load_source_sample()["labels"]
    assert labels.tolist() == [0, 0, 1, 0, 1, 2, 0]  # of images without, with 0, 0 and 1, 0 to 2, without, with 0
    job = AdoptionJob(tmp_path / "other", Adoption.from_mapping(entry), Hardware("cpu"))
    with pytest.raises(
        ConfigError, match=r"is for multilabel, but the model is for classification.*'task: multilabel'"
    ):
        adopt_member(job)


def test_a_classifier_is_not_ranked_for_pixels(files: Path) -> None:
    models = {"vit": str(files / "vit"), "unet": muster.models.build_model("small_unet", 3)}
    with pytest.warns(UserWarning, match="segmentation needs one for every place"):
        table = muster.rank(models, "worlds/attic", train_images=4, image_size=32, device="cpu", show=False)
    assert list(table.index) == ["unet"]
    assert "needs one for every place" in table.attrs["left_out"]["vit"]
