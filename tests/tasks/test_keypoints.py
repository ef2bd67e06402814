"""Keypoints: losses, what is found, AP50 at OKS, data in their official forms, and the way from a pool to a result."""

from __future__ import annotations

import contextlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.io import savemat
from torch import Tensor

from muster.data import VOID, open_dataset
from muster.data.boxes import AREA, CROWD, PASSED_OVER, POINTS, objects_truth, of_known_objects
from muster.data.layouts.mpii import JOINTS
from muster.models import build_model
from muster.models.padding import Part
from muster.pool import Pool
from muster.probe import draw_probe_set
from muster.report import write_finetuning_report
from muster.report.finetuned_images import finetuned_images
from muster.selection.run import select
from muster.tasks.keypoints import KEYPOINTS
from muster.tasks.loss import LossOptions
from muster.tasks.losses.keypoints import point_targets
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.results import LEARNED_HEAD
from muster.training.settings import SourceSettings, TrainingSettings
from muster.training.source import train_member
from tests.tasks.course import fine_tune
from tests.tasks.test_detection_parts import slow_heat

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

IMAGE = (40, 60)
NAMES = ("nose", "left_eye", "right_eye")
SIGMAS = (0.026, 0.025, 0.025)


def truth_of(*objects: tuple[float, ...]) -> Tensor:
    return objects_truth(IMAGE, objects, SIGMAS)


PERSONS = (
    (2.0, 3.0, 30.0, 33.0, 0.0, 0.0, 700.0, 10.2, 8.1, 2.0, 6.0, 7.0, 1.0, 14.0, 7.0, 2.0),
    (34.0, 8.0, 58.0, 30.0, 0.0, 0.0, 400.0, 45.0, 12.0, 2.0, 40.0, 11.0, 2.0, 0.0, 0.0, 0.0),
)


@pytest.mark.parametrize("part", [None, Part(40, 60, 64, 64)])
def test_the_losses_are_l1_to_l6(part: Part | None) -> None:
    truth, shape = truth_of(*PERSONS)[None], (16, 16)
    scale = (16 / 60, 16 / 40) if part is None else (0.25, 0.25)
    scores = torch.randn(1, 5 + 2 + 9, *shape, generator=torch.Generator().manual_seed(0))
    said = scores[0].double().numpy()

    def focal(maps: np.ndarray, heat: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-maps))
        return -float(np.where(heat == 1, (1 - p) ** 2 * np.log(p), (1 - heat) ** 4 * p**2 * np.log(1 - p)).sum())

    boxes = focal(said[:1], slow_heat(truth[0, :, :6], 1, shape, scale))
    points, known = 0.0, 0
    heat = point_targets(truth, shape, part).heat[0].double().numpy()
    points += focal(said[5:8], heat)
    for left, top, right, bottom, *_, area in (row[:7] for row in PERSONS):
        assert area > 0
        x, y = (left + right) / 2 * scale[0], (top + bottom) / 2 * scale[1]
        at = said[:, math.floor(y), math.floor(x)]
        boxes += abs(at[1] - x % 1) + abs(at[2] - y % 1)
        boxes += 0.1 * (abs(at[3] - (right - left) * scale[0]) + abs(at[4] - (bottom - top) * scale[1]))
        row = next(each for each in PERSONS if each[0] == left)
        for place in range(3):
            px, py, seen = row[7 + 3 * place : 10 + 3 * place]
            if not seen:
                continue
            known += 1
            px, py = px * scale[0], py * scale[1]
            there = said[:, math.floor(py), math.floor(px)]
            points += abs(there[8] - px % 1) + abs(there[9] - py % 1)
            points += abs(at[10 + 2 * place] - (px - math.floor(x))) + abs(at[11 + 2 * place] - (py - math.floor(y)))
            assert heat[place, math.floor(py), math.floor(px)] == 1
    loss = KEYPOINTS.loss(scores, truth, "keypoints", LossOptions(part=part))
    assert float(loss) == pytest.approx(boxes / 2 + points / known, rel=1e-4)
    assert KEYPOINTS.loss(scores, truth_of()[None], "keypoints").isfinite()


def test_what_a_perfect_network_says_is_the_truth() -> None:
    truth, shape = truth_of(*PERSONS)[None], (20, 30)
    scale, scores = 0.5, torch.zeros(1, 16, *shape)
    scores[:, 0] = scores[:, 5:8] = -9.0
    for left, top, right, bottom, *rest in PERSONS:
        x, y = (left + right) / 2 * scale, (top + bottom) / 2 * scale
        column, row = math.floor(x), math.floor(y)
        scores[0, 0, row, column] = 9
        scores[0, 1:5, row, column] = torch.tensor([x % 1, y % 1, (right - left) * scale, (bottom - top) * scale])
        for place in range(3):
            px, py, seen = rest[3 + 3 * place : 6 + 3 * place]
            px, py = px * scale, py * scale
            # The centre says about where each point is, and the point's own map where exactly.
            scores[0, 10 + 2 * place : 12 + 2 * place, row, column] = torch.tensor([px - column + 0.8, py - row - 0.7])
            if seen:
                scores[0, 5 + place, math.floor(py), math.floor(px)] = 9
                scores[0, 8:10, math.floor(py), math.floor(px)] = torch.tensor([px % 1, py % 1])
    found = KEYPOINTS.predictions(scores, IMAGE)[0, :, :2, 0].T
    order = found[:, 0].argsort()
    for row, person in zip(found[order], PERSONS, strict=True):
        assert row[:4].tolist() == pytest.approx(person[:4], abs=1e-3)
        for place in range(3):
            x, y, seen = person[7 + 3 * place : 10 + 3 * place]
            if seen:
                assert row[6 + 2 * place : 8 + 2 * place].tolist() == pytest.approx([x, y], abs=1e-3)
    total = KEYPOINTS.total(KEYPOINTS.predictions(scores, IMAGE), truth, 3)
    assert KEYPOINTS.result_of(total) == pytest.approx(1)
    assert KEYPOINTS.units_of_outputs(total) == (2,)
    pictures = KEYPOINTS.pictures(
        torch.zeros(3, *IMAGE, dtype=torch.uint8), truth[0], {"a": KEYPOINTS.predictions(scores, IMAGE)[0]}
    )
    assert list(pictures) == ["image", "ground truth", "a"]
    assert pictures["a"].any()


def drawn(seed: int, images: int = 60) -> tuple[list[Tensor], list[Tensor]]:
    """Persons, and what is found of them: near or far, and invented ones."""
    generator = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(images):
        persons, rows = [], []
        for _ in range(int(generator.integers(0, 5))):
            corner, sides = generator.uniform(0, 30, 2), generator.uniform(10, 30, 2)
            points = corner + sides * generator.uniform(0, 1, (3, 2))
            seen = generator.choice([0, 1, 2], 3, p=[0.3, 0.3, 0.4])
            ignored = int(generator.random() < 0.1)
            kind = CROWD if ignored else 0 if seen.any() else PASSED_OVER
            known = np.concatenate([points * (seen > 0)[:, None], seen[:, None]], axis=1).ravel()
            persons.append((*corner, *(corner + sides), 0.0, kind, float(np.prod(sides)) * 0.6, *known))
            for _ in range(int(generator.integers(0, 3))):
                moved = points + generator.normal(0, generator.choice([0.5, 1.5, 4.0]), (3, 2))
                rows.append([*corner, *(corner + sides), generator.beta(3, 2), 0, *moved.ravel()])
        more = range(int(generator.integers(0, 3)))
        rows += [[0, 0, 9, 9, generator.beta(2, 3), 0, *generator.uniform(0, 60, 6)] for _ in more]
        truths.append(objects_truth((60, 60), [tuple(map(float, each)) for each in persons], SIGMAS))
        found.append(torch.tensor(rows, dtype=torch.float32).reshape(-1, 12).T[..., None])
    return found, truths


def test_ap50_is_that_of_pycocotools_but_for_the_width_of_an_interval() -> None:
    found, truths = drawn(0)
    total, annotations, results = KEYPOINTS.no_tally(3), list[dict[str, Any]](), list[dict[str, Any]]()
    for number, (image, truth) in enumerate(zip(found, truths, strict=True), start=1):
        total += KEYPOINTS.total(image[None], truth[None], 3)
        for row in truth[1:].tolist():
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": 1, "area": row[AREA],
                "bbox": [row[0], row[1], row[2] - row[0], row[3] - row[1]], "iscrowd": int(row[5] == CROWD),
                "keypoints": row[POINTS:], "num_keypoints": sum(seen > 0 for seen in row[POINTS + 2 :: 3]),
            })  # fmt: skip
        for row in image[..., 0].T.tolist():
            points = [value for x, y in zip(row[6::2], row[7::2], strict=True) for value in (x, y, 2)]
            results.append({"image_id": number, "category_id": 1, "keypoints": points, "score": row[4]})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": number, "height": 60, "width": 60} for number in range(1, len(found) + 1)]
        coco.dataset = {
            "info": {},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "p"}],
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "keypoints")
        judge.params.kpt_oks_sigmas = np.array(SIGMAS)
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][0, :, 0, 0, -1]  # at an OKS of 0.5
    assert 0.15 < precision.mean() < 0.8
    assert KEYPOINTS.result_of(total) == pytest.approx(float(precision.mean()), abs=0.01)


def test_a_selection_sees_the_pixels_of_points() -> None:
    dataset = open_dataset("keypoints/harbour_drive")
    split = replace(dataset.train, identifiers=dataset.train.identifiers[:4])
    seen = KEYPOINTS.in_classes(split)
    for sample, shown in zip(split, seen, strict=True):
        known = sample.mask[of_known_objects(sample.mask)]
        assert int((shown.mask != VOID).sum()) <= int((known[:, POINTS + 2 :: 3] > 0).sum())
    probe = draw_probe_set(seen, 20)
    assert set(probe.labels.tolist()) <= set(range(6))
    person = next(row for sample in split for row in sample.mask[of_known_objects(sample.mask)])
    head, feet = person[POINTS : POINTS + 2], person[POINTS + 12 : POINTS + 14]
    assert head[1] < feet[1]  # persons stand upright
    assert person[1] - 1 <= head[1] <= person[3]


def squares(root: Path, seed: int, counts: tuple[int, int]) -> str:
    """Squares with a bright dot at the left and a dark one at the right, as COCO has persons."""
    generator = np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True)
    for split, count in zip(("train", "val"), counts, strict=True):
        (root / split).mkdir()
        images, annotations = [], []
        for number in range(1, count + 1):
            pixels = generator.normal(90, 20, (40, 40, 3))
            top, left = generator.integers(0, 20, 2).tolist()
            pixels[top : top + 18, left : left + 18] = [60, 150, 60]
            pixels[top + 6 : top + 11, left + 1 : left + 6] = 255
            pixels[top + 6 : top + 11, left + 12 : left + 17] = 0
            points = [left + 3.5, top + 8.5, 2, left + 14.5, top + 8.5, 1]
            annotations.append({
                "id": number, "image_id": number, "category_id": 1, "bbox": [left, top, 18, 18], "area": 324,
                "iscrowd": 0, "keypoints": points, "num_keypoints": 2, "segmentation": [],
            })  # fmt: skip
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / split / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 40})
        category = {"id": 1, "name": "square", "keypoints": ["left_eye", "right_eye"], "skeleton": []}
        content = {"images": images, "annotations": annotations, "categories": [category]}
        (root / f"annotations/person_keypoints_{split}.json").write_text(json.dumps(content))
    (root / "dataset.yaml").write_text(f"name: {root.name}\ndomain: squares\nreader: coco_keypoints\n")
    return str(root)


def test_from_a_pool_to_points(tmp_path: Path) -> None:
    source, target = squares(tmp_path / "source", 0, (8, 3)), squares(tmp_path / "target", 1, (12, 6))
    usual: dict[str, Any] = {"batch_size": 4, "optimizer": "adamw", "learning_rate": 0.003, "loss": "keypoints"}
    settings = SourceSettings(steps=3, image_size=40, crop_size=40, **usual)
    job = MemberJob("m", tmp_path / "pool", source, "small_fpn", "none", settings, Hardware("cpu"))
    train_member(job, lambda step, loss: None)
    pool, dataset = Pool.open(tmp_path / "pool"), open_dataset(target)
    assert dataset.spec.classes == ("left_eye", "right_eye")
    selection = select(pool, dataset, size=1, cache_gb=0.0, pixels_per_image=20, resamples=0)
    assert (selection.task, selection.metric) == ("keypoints", "e_leep")
    training = TrainingSettings(steps=30, crop_size=40, scale_range=(0.9, 1.1), **usual)
    run = fine_tune(tmp_path / "run", pool, selection, dataset, training)
    assert run.result.task == "keypoints"
    assert run.result.class_pixels == (6,)
    found = run.ensemble.find(dataset.test[0].image)
    truth = dataset.test[0].mask[1]
    assert found.shape[1] == 10
    nearest = found[(found[:, :2] - truth[:2]).abs().sum(dim=1).argmin()]
    assert (nearest[:4] - truth[:4]).abs().max() < 12
    assert run.result.results[LEARNED_HEAD] >= 0
    write_finetuning_report(run.result, tmp_path / "report.html", finetuned_images(run.ensemble, run.target, 1))
    page = (tmp_path / "report.html").read_text("utf-8")
    swatches = [name for name in ("object", "left_eye", "right_eye") if f"</i>{name}" in page.replace("<wbr>", "")]
    assert swatches == ["object", "left_eye", "right_eye"]
    assert "100.0 % of the objects" in page
    assert "ensemble<" not in page  # there is one network


@pytest.mark.filterwarnings("ignore:.*is not the whole of")
def test_mpii_is_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()

    def point(joint: int, x: float, y: float, seen: Any) -> dict[str, Any]:
        return {"x": x, "y": y, "id": joint, "is_visible": seen}

    persons = [
        [{"annopoints": {"point": [point(9, 10.0, 2.0, 1), point(0, 8.0, 30.0, 0)]}}],
        [{"annopoints": {"point": [point(9, 5.0, 5.0, [])]}}, {"annopoints": []}],
        [{"scale": 1.0}],  # of the challenge's test images: no joints
        [{"annopoints": {"point": [point(9, 20.0, 20.0, 1), point(5, 22.0, 30.0, 1)]}}],
    ]
    entries = []
    for number, rects in enumerate(persons):
        Image.new("RGB", (60, 40)).save(tmp_path / f"images/{number}.jpg")
        entries.append({"image": {"name": f"{number}.jpg"}, "annorect": rects})
    release = {"annolist": entries, "img_train": [1, 1, 0, 1]}
    savemat(tmp_path / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})
    dataset = open_dataset(str(tmp_path))
    assert (dataset.spec.task, dataset.spec.classes) == ("keypoints", JOINTS)
    truths = {sample.identifier: sample.mask for split in (dataset.train, dataset.test) for sample in split}
    assert set(truths) == {"0", "1", "3"}
    person = truths["0"][1]
    assert person[:4].tolist() == pytest.approx([7.8, -0.8, 10.2, 32.8])
    assert person[POINTS + 27 : POINTS + 30].tolist() == [10, 2, 2]
    assert person[POINTS : POINTS + 3].tolist() == [8, 30, 1]  # it is there and not visible
    assert truths["1"].shape[0] == 2
    assert KEYPOINTS.fitted(build_model("small_fpn", 2)).num_classes == 2
