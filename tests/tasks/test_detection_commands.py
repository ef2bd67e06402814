"""Detection from a pool to boxes in files, each step by its command, on coloured squares in COCO's form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchmetrics.detection import MeanAveragePrecision

import muster
from muster.commands.main import start
from muster.data import open_dataset
from muster.pool import Pool
from muster.training.results import LEARNED_HEAD

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

SIDE = 48
CLASSES = ("red", "blue", "green")
COLOURS = ([230, 40, 40], [40, 40, 230], [40, 200, 40])


def write(root: Path, seed: int, train: int, test: int) -> str:
    """Noise with squares of three colours."""
    generator = np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train", train), ("val", test)):
        (root / split).mkdir()
        images, annotations = [], list[dict[str, Any]]()
        for number in range(1, count + 1):
            pixels = generator.normal(110, 20, (SIDE, SIDE, 3))
            for label in generator.permutation(3)[: generator.integers(1, 3)].tolist():
                side = int(generator.integers(14, 22))
                top, left = generator.integers(0, SIDE - side, 2).tolist()
                pixels[top : top + side, left : left + side] = COLOURS[label]
                annotations.append({
                    "id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0,
                    "bbox": [left, top, side, side], "area": side * side, "segmentation": [],
                })  # fmt: skip
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / split / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "height": SIDE, "width": SIDE})
        categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES, start=1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    (root / "dataset.yaml").write_text(f"name: {root.name}\ndomain: squares\nreader: coco_boxes\n")
    return str(root)


@dataclass(frozen=True)
class Course:
    """What the commands made."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "tuned"


USUAL: dict[str, Any] = {
    "batch_size": 5, "optimizer": "adamw", "learning_rate": 0.003, "loss": "centres", "crop_size": SIDE,
    "scale_range": [0.9, 1.1],
}  # fmt: skip
CPU = ["--hardware.device", "cpu"]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A member, a selection and a fine-tuned detector, each by its command."""
    root = tmp_path_factory.mktemp("squares")
    write(root / "target", 0, 20, 10)
    plan = {"datasets": [write(root / "source", 1, 12, 4)], "architectures": ["small_fpn"], "pretrainings": ["none"]}
    training = {**USUAL, "steps": 6, "image_size": SIDE}
    config = {"plan": plan, "output": str(root / "pool"), "training": training, "workers": 1}
    (root / "train.yaml").write_text(yaml.safe_dump(config))
    (root / "finetune.yaml").write_text(yaml.safe_dump({"training": {**USUAL, "steps": 40}}))
    assert start("train", arguments=["--config", str(root / "train.yaml"), *CPU]) == 0
    chosen = ["--pool", str(root / "pool"), "--target", str(root / "target"), "--output", str(root / "selected")]
    small = ["--cache_gb", "0", "--resamples", "0", "--device", "cpu", "--metrics", "[auto, parc, knn_shares]"]
    assert start("select", arguments=[*chosen, *small, "--size", "1"]) == 0
    tune = ["--config", str(root / "finetune.yaml"), "--selection", str(root / "selected")]
    assert start("finetune", arguments=[*tune, "--output", str(root / "tuned"), *CPU]) == 0
    return Course(root)


def test_the_result_is_mean_ap_of_what_is_found(course: Course) -> None:
    result = yaml.safe_load((course.run / "result.yaml").read_text())
    loaded, test = muster.load_ensemble(course.run), open_dataset(str(course.root / "target")).test
    metric = MeanAveragePrecision(backend="pycocotools", class_metrics=True)
    for sample in test:
        found, there = loaded.find(sample.image), sample.mask[1:]
        metric.update(
            [{"boxes": found[:, :4], "scores": found[:, 4], "labels": found[:, 5].long()}],
            [{"boxes": there[:, :4], "labels": there[:, 4].long()}],
        )
    exact = metric.compute()
    assert result["results"][LEARNED_HEAD] == pytest.approx(float(exact["map"]), abs=0.03)  # of a dozen objects
    assert result["results"][LEARNED_HEAD] > 0.01
    assert (result["task"], len(result["class_pixels"])) == ("detection", 3)
    low, high = result["result_intervals"][LEARNED_HEAD]
    assert low <= result["results"][LEARNED_HEAD] <= high
    page = (course.run / "report.html").read_text()
    assert "mAP on the 10 test images" in page
    assert "mIoU" not in page
    assert "learned head" not in page  # there are none
    assert {member.card.task for member in Pool.open(course.root / "pool")} == {"detection"}
    with pytest.raises(ValueError, match="finds objects; use find"):
        loaded.predict(test[0].image)


def test_a_selection_has_metrics_of_pixels_and_of_whole_images(course: Course) -> None:
    ranking = pd_read(course.root / "selected/ranking.parquet")
    assert set(ranking.columns) >= {"e_leep", "ms_leep", "parc", "knn_shares"}
    record = yaml.safe_load((course.root / "selected/selection.yaml").read_text())
    assert (record["task"], record["metric"]) == ("detection", "e_leep")


def pd_read(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


def test_files_get_boxes_in_cocos_form(course: Course, tmp_path: Path) -> None:
    images = course.root / "target/val"
    common = ["--images", str(images), "--ensemble", str(course.run), *CPU]
    assert start("predict", arguments=[*common, "--output", str(tmp_path / "all")]) == 0
    content = json.loads((tmp_path / "all/detections.json").read_text())
    assert [each["name"] for each in content["categories"]] == list(CLASSES)
    assert len(content["images"]) == 10
    first = content["annotations"][0]
    ours = muster.load_ensemble(course.run).find(muster.data.read_image(Path(content["images"][0]["file_name"])))
    left, top, right, bottom, score, label = ours[0].tolist()
    assert first["bbox"] == pytest.approx([left, top, right - left, bottom - top], abs=0.02)
    assert (first["category_id"], first["score"]) == (int(label) + 1, pytest.approx(score, abs=1e-4))
    assert len(list((tmp_path / "all/overlays").glob("*.png"))) == 10
    fewer = [*common, "--nms", "0", "--overlays", "false", "--output", str(tmp_path / "few")]
    assert start("predict", arguments=fewer) == 0
    kept = [
        muster.load_ensemble(course.run).find(muster.data.read_image(Path(each["file_name"])), nms=0.0)
        for each in content["images"]
    ]
    written = json.loads((tmp_path / "few/detections.json").read_text())["annotations"]
    assert len(written) == sum(int((found[:, 4] >= 0.01).sum()) for found in kept) <= len(content["annotations"])
    assert not (tmp_path / "few/overlays").exists()


def refused(command: str, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that refuses to work."""
    assert start(command, arguments=list(arguments)) == 2
    return " ".join(capsys.readouterr().err.split())


def test_what_does_not_apply_is_refused(course: Course, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, run = course.root, str(course.run)
    target, pool = str(root / "target"), str(root / "pool")
    select = ["--pool", pool, "--target", target, "--output", str(tmp_path / "s"), "--device", "cpu"]
    assert "lists of objects that several models find cannot be averaged" in refused("select", *select, capsys=capsys)
    tune = ["--config", str(root / "finetune.yaml"), "--selection", str(root / "selected"), *CPU]
    tune += ["--output", str(tmp_path / "f")]
    assert "cannot be averaged" in refused("finetune", *tune, "--tta.flip", "true", capsys=capsys)
    assert "got frozen" in refused("finetune", *tune, "--training.adapt", "frozen", capsys=capsys)
    assert "expected one for detection (centres)" in refused(
        "finetune", *tune, "--training.loss", "scores", capsys=capsys
    )
    maps = ["--images", str(root / "target/val"), "--ensemble", run, "--confidence", "true", *CPU]
    assert "no maps" in refused("predict", *maps, "--output", str(tmp_path / "p"), capsys=capsys)
    export = ["--ensemble", run, "--format", "torch", "--output", str(tmp_path / "e.pt2")]
    assert "this one is for detection" in refused("export", *export, capsys=capsys)
    other = muster.load_ensemble(run)
    assert torch.equal(other.head.weights, torch.ones(1, 3))  # no head is learned
    assert start("evaluate", arguments=["--ensemble", run, "--target", target, *CPU]) == 0
    assert "mAP (95 % interval)" in capsys.readouterr().out
