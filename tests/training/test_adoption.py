"""A pool of models that others trained, one of each kind, beside two of muster's own: from their files to a mask."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
import yaml

from muster import load_ensemble, select
from muster.commands.main import start
from muster.data import ChannelStatistics, ImageSize, Preprocessing, read_mask
from muster.errors import PoolError
from muster.files import read_yaml
from muster.metrics import METRICS
from muster.models import build_model
from muster.pool import Member, Pool
from muster.scoring.cpu import exhaustive_kernels, product_kernels  # noqa: F401 (parsed here, not in its threads)
from muster.selection.record import Selection
from muster.training.finetuned_ensemble import Ensemble
from muster.training.pool_training import FAILURES
from tests.helpers import make_member
from tests.models import makers

BUILDERS = "makers_for_adoption"
CLASSES = ["sky", "wall", "ground"]
STATISTICS: dict[str, Any] = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
BACKBONE = "unet:tu-test_efficientnet"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each library's own files, and the target."""
    folder = tmp_path_factory.mktemp("files")
    makers.save_smp(folder / "smp", seed=1)
    makers.save_torchvision(folder / "lraspp.pth", seed=2)
    makers.save_plain(folder / "plain.safetensors", seed=3)
    makers.save_segformer(folder / "segformer", seed=4)
    makers.save_mask2former(folder / "mask2former", seed=5)
    makers.save_program(folder / "program.pt2")
    makers.save_backbone(folder / "backbone.safetensors", BACKBONE)
    makers.write_target(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def config(files: Path) -> Path:
    """A plan that adopts one of each kind, and one that cannot be had."""
    adopt = [
        {"name": "smp", "from": "smp", "model": str(files / "smp"), "classes": CLASSES, **STATISTICS, "domain": "roads",
         "data": str(files / "tiny"), "dataset": "made for smp"},
        {"name": "lraspp", "from": "torchvision", "model": "lraspp_mobilenet_v3_large", "dataset": "coco",
         "weights": str(files / "lraspp.pth"), "classes": CLASSES, "image_size": 64},
        {"name": "plain", "from": "python", "model": f"{BUILDERS}:build_plain", "dataset": "ours", "classes": CLASSES,
         "weights": str(files / "plain.safetensors"), **STATISTICS, "channel_order": "bgr"},
        {"name": "segformer", "from": "transformers", "model": str(files / "segformer"), "dataset": "ade20k"},
        {"name": "mask2former", "from": "transformers", "model": str(files / "mask2former"), "dataset": "ade20k"},
        {"name": "bare", "from": "backbone", "architecture": BACKBONE, "pretraining": "imagenet",
         "weights": str(files / "backbone.safetensors")},
        {"name": "frozen", "from": "exported", "model": str(files / "program.pt2"), "classes": CLASSES, **STATISTICS,
         "dataset": "elsewhere"},
        {"name": "lost", "from": "smp", "model": str(files / "not there"), "dataset": "nothing"},
    ]  # fmt: skip
    path = files / "pool.yaml"
    path.write_text(yaml.safe_dump({"plan": {"adopt": adopt}, "output": str(files / "pool")}), "utf-8")
    return path


@pytest.fixture(scope="module")
def importable() -> Iterator[None]:
    """The builders under a name that can be imported, as a user's own package can."""
    sys.modules[BUILDERS] = makers
    yield
    del sys.modules[BUILDERS]


@pytest.fixture(scope="module")
def pool(files: Path, config: Path, importable: None) -> Pool:
    assert start("train", arguments=["--config", str(config)]) == 1  # one failed
    make_member(files / "pool", "native-a", 1)
    make_member(files / "pool", "native-b", 2, architecture="small_unet")
    return Pool.open(files / "pool")


@pytest.fixture(scope="module")
def selection(pool: Pool, files: Path) -> Selection:
    left_out = {"rsa", "dds", "osborn", "otce", *(name for name, each in METRICS.items() if "numbers" in each.needs)}
    metrics = tuple(name for name in METRICS if name not in left_out)
    with pytest.warns(UserWarning, match="no score|do not say|images of tiny|n_leep|seed"):
        return select(pool, str(files / "tiny"), size=2, metrics=metrics, cache_gb=0.0, device="cpu", resamples=0)


def test_members_are_complete_and_what_failed_is_recorded(pool: Pool, files: Path, capsys: Any) -> None:
    assert [member.name for member in pool] == [
        "bare", "frozen", "lraspp", "mask2former", "native-a", "native-b", "plain", "segformer", "smp",
    ]  # fmt: skip
    assert set(read_yaml(files / "pool" / FAILURES, PoolError)) == {"lost"}
    assert start("train", arguments=["--output", str(files / "pool"), "--verify"]) == 0
    assert start("train", arguments=["--output", str(files / "pool"), "--list"]) == 0
    assert "9 of 9 members match" in capsys.readouterr().out
    for member in pool:
        assert member.problem() is None


def test_a_backbone_is_adopted_into_the_folder_where_one_works(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = {"name": "bare", "from": "backbone", "architecture": BACKBONE, "pretraining": "imagenet",
             "weights": str(files / "backbone.safetensors")}  # fmt: skip
    Path("pool.yaml").write_text(yaml.safe_dump({"plan": {"adopt": [entry]}}), "utf-8")
    assert start("train", arguments=["--config", "pool.yaml", "--output", "mine/pool"]) == 0
    assert [member.name for member in Pool.open(Path("mine/pool"))] == ["bare"]


def test_cards_say_what_the_models_say(pool: Pool) -> None:
    assert pool["segformer"].card.classes == ("sky", "wall", "ground")
    assert pool["segformer"].card.preprocessing is not None
    assert pool["segformer"].card.image_size == "64x64"
    assert pool["plain"].card.preprocessing == Preprocessing(
        ChannelStatistics((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), None, "bgr"
    )
    assert pool["bare"].card.classes == ()
    assert pool["bare"].card.pretraining == "imagenet"
    assert pool["smp"].card.test_result is None
    assert pool["smp"].card.contents[0].images == 6
    assert "stage_0" in pool["smp"].load_source_sample()


def test_what_is_finished_is_not_made_again(pool: Pool, config: Path, importable: None) -> None:
    before = {member.name: (member.folder / "card.yaml").stat().st_mtime_ns for member in pool}
    start("train", arguments=["--config", str(config)])
    assert before == {member.name: (member.folder / "card.yaml").stat().st_mtime_ns for member in pool}


def test_every_metric_scores_the_members_that_it_can(selection: Selection) -> None:
    assert "cannot be fine-tuned" in selection.excluded["frozen"]
    assert "trained on the target" in selection.excluded["smp"]  # its images are the target's, whatever it is called
    everyone = {"bare", "lraspp", "mask2former", "native-a", "native-b", "plain", "segformer"}
    scores = selection.single_scores
    assert set(scores["logme"]) == set(scores["leep"]) == set(scores["parc"]) == everyone
    assert set(scores["nce"]) == everyone - {"bare"}
    assert set(scores["base"]) == {"native-a", "native-b"}
    assert "no source classes" in selection.dropped["nce"]


def test_an_exported_program_is_ranked_by_itself(pool: Pool, files: Path) -> None:
    options: dict[str, Any] = {"size": 1, "predictor": "eep", "metric": "leep", "resamples": 0}
    with pytest.warns(UserWarning, match="no source classes|do not say|no score"):
        found = select(pool, str(files / "tiny"), cache_gb=0.0, device="cpu", **options)
    assert "frozen" in found.member_scores
    assert "no source classes" in found.excluded["bare"]


@pytest.mark.filterwarnings("ignore:The card.s. of")
@pytest.mark.filterwarnings("ignore:Metric .base")
def test_all_kinds_are_fine_tuned_together_and_predict(pool: Pool, files: Path) -> None:
    chosen = ["lraspp", "mask2former", "plain", "segformer", "bare", "native-a", "native-b"]
    folder = files / "some"
    (folder / "members").mkdir(parents=True)
    for name in chosen:
        (folder / "members" / name).symlink_to(pool[name].folder)
    out, run = files / "selected", files / "tuned"
    common = ["--pool", str(folder), "--target", str(files / "tiny"), "--cache_gb", "0", "--size", str(len(chosen))]
    assert start("select", arguments=[*common, "--output", str(out), "--resamples", "0", "--device", "cpu"]) == 0
    assert (
        start(
            "finetune",
            arguments=[
                "--selection", str(out), "--output", str(run), "--training.steps", "1", "--training.batch_size", "2",
                "--head.optimizer", "lbfgs", "--hardware.device", "cpu",
            ],
        )
        == 0
    )  # fmt: skip
    ensemble = load_ensemble(run)
    assert set(ensemble.names) == set(chosen)
    image = torch.randint(0, 255, (3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert ensemble.predict(image).shape == (50, 70)
    assert start("predict", arguments=["--images", str(files / "tiny/val/images"), "--ensemble", str(run)]) == 0
    masks = sorted((run / "predictions").rglob("masks/*.png"))
    assert [tuple(read_mask(mask).shape) for mask in masks] == [(48, 64)] * 2


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("plain", "segformer", "native-a"), marks=pytest.mark.slow),  # each kind by itself is not
        pytest.param(("lraspp", "smp", "bare", "native-b", "plain"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_one_file_of_several_kinds_says_the_same_in_onnx_runtime(
    names: tuple[str, ...], pool: Pool, tmp_path: Path
) -> None:
    models = [pool[name].load_model() for name in names]
    for seed, model in enumerate(models):
        model.replace_head(3, seed)
        with torch.no_grad():
            next(model.head.parameters()).mul_(4)
    made = Ensemble(names, models, CLASSES, Preprocessing(ChannelStatistics((0.4,) * 3, (0.2,) * 3), ImageSize(64)))
    made.eval().save(tmp_path / "ensemble", "tiny", {})
    assert start("export", arguments=[str(tmp_path), "--output", str(tmp_path / "made.onnx")]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "made.onnx"), providers=["CPUExecutionProvider"])
    image = torch.randint(0, 255, (3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (classes,) = session.run(["classes"], {session.get_inputs()[0].name: image[None].numpy()})
    expected = load_ensemble(tmp_path, precision="32-true").predict(image)
    assert len(expected.unique()) > 1
    assert (classes[0] == expected.numpy()).mean() >= 0.999


def test_a_fresh_head_keeps_everything_else(pool: Pool, importable: None) -> None:
    for name in ("smp", "lraspp", "plain", "segformer", "mask2former"):
        member: Member = pool[name]
        model, fresh = member.load_model(), member.load_model()
        fresh.replace_head(7, seed=0)
        side = max(64, model.minimum_side)
        images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(fresh.features(images), model.features(images))
        assert fresh(images).shape[1] == 7
        trainable = [value for value in fresh.parameters() if value.requires_grad]
        grads = torch.autograd.grad(fresh(images).square().mean(), trainable)
        assert fresh.num_parameters == sum(value.numel() for value in trainable) == sum(g.numel() for g in grads)


def test_a_native_network_is_not_touched_by_this() -> None:
    assert build_model("small_fpn", 3).blueprint.source == "native"
