"""Depth: losses, results, what a selection sees, and the whole way on the depths of the worlds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.nn import functional

import muster
from muster.commands.export import describe
from muster.commands.main import start
from muster.commands.predict import predict_folder
from muster.commands.predictions.settings import PredictionSettings
from muster.data import VOID, Dataset, DatasetSpec, Sample, Split, open_dataset
from muster.errors import ConfigError, SelectionError
from muster.metrics import ridge_mean, ridge_probe
from muster.pool import Pool
from muster.probe import draw_probe_set
from muster.selection.run import probe_reader, seen_images
from muster.selection.settings import SelectionSettings
from muster.tasks.depth import DEPTH
from muster.tasks.loss import LossOptions
from muster.training.ensemble_card import read_card
from muster.training.export.graph import EnsembleGraph
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.results import LEARNED_HEAD
from muster.training.settings import SourceSettings
from muster.training.source import train_member

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

NAN = math.nan
TRUTH = torch.tensor([[[1.0, 2.0, 4.0], [NAN, 10.0, 80.0]], [[NAN, NAN, NAN], [NAN, NAN, 5.0]]])


def split_of(depths: Tensor) -> Split:
    """Grey images with these depths."""
    spec = DatasetSpec("made up", "none", ("depth",), task="depth")
    image = torch.full((3, *depths.shape[1:]), 99, dtype=torch.uint8)
    names = tuple(map(str, range(len(depths))))
    return Split(spec, "train", names, lambda name: Sample(name, image, depths[int(name)]))


def test_losses_are_those_of_a_loop_over_pixels() -> None:
    scores = torch.randn(2, 1, 2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = functional.softplus(scores.detach())[:, 0].tolist()
    truth, distance, steps, known = TRUTH.tolist(), 0.0, 0.0, 0
    for b in range(2):
        for y in range(2):
            for x in range(3):
                if math.isnan(truth[b][y][x]):
                    continue
                known += 1
                distance += abs(found[b][y][x] - truth[b][y][x])
                for down, across in ((0, 1), (1, 0)):
                    v, u = y + down, x + across
                    if v < 2 and u < 3 and not math.isnan(truth[b][v][u]):
                        wanted = truth[b][v][u] - truth[b][y][x]
                        steps += abs(found[b][v][u] - found[b][y][x] - wanted)
    assert known == 6
    plain, both = (DEPTH.loss(scores, TRUTH, name, LossOptions()) for name in ("l1", "l1_smoothness"))
    assert float(plain.detach()) == pytest.approx(distance / 6, rel=1e-6)
    assert float(both.detach()) == pytest.approx((distance + steps) / 6, rel=1e-6)
    both.backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert (scores.grad[1, 0].flatten()[:5] == 0).all()  # nothing is known there, and 5.0 has no known neighbour
    nothing = DEPTH.loss(scores, DEPTH.without_truth(TRUTH), "l1_smoothness", LossOptions())
    assert float(nothing.detach()) == 0
    larger = DEPTH.loss(scores, TRUTH.repeat_interleave(2, 1).repeat_interleave(2, 2), "l1", LossOptions())
    assert larger.isfinite()


def test_results_by_hand() -> None:
    found = torch.tensor([[[1.2, 2.5, 3.0], [7.0, 8.01, 60.0]], [[1.0, 1.0, 1.0], [1.0, 1.0, 5.0]]])
    tally = DEPTH.tally(DEPTH.decide(found[:, None]), TRUTH, 1)
    # 1.2 and 8.01 are within a quarter; 2.5 is exactly 1.25 times 2, 3.0 and 60.0 are too near.
    assert DEPTH.digest(tally)[:, :2].tolist() == [[5, 2], [1, 1]]
    assert DEPTH.results(DEPTH.digest(tally)).tolist() == pytest.approx([0.4, 1.0])
    squares = [0.04, 0.25, 1.0, 1.99**2, 400.0]
    assert DEPTH.errors(DEPTH.digest(tally))[0] == pytest.approx(math.sqrt(sum(squares) / 5))
    whole = tally.sum(dim=0)
    assert DEPTH.result_of(whole) == pytest.approx(3 / 6)
    assert DEPTH.error_of(whole) == pytest.approx(math.sqrt(sum(squares) / 6))
    assert (DEPTH.units_of_outputs(whole), DEPTH.class_results_of(whole)) == ((6,), (0.5,))
    # Of 1, 2, 4, 5, 10, 80 a constant between 4 and 5 is within a quarter of two.
    assert DEPTH.guess(split_of(TRUTH), whole) == pytest.approx(2 / 6)
    nothing = DEPTH.tally(found, DEPTH.without_truth(TRUTH), 1).sum(dim=0)
    assert DEPTH.class_results_of(nothing) == (None,)
    assert DEPTH.error_of(nothing) is None
    with pytest.raises(ValueError, match="without a labelled pixel"):
        DEPTH.result_of(nothing)


def test_a_selection_sees_intervals_and_the_numbers_behind_them() -> None:
    depths = torch.arange(1.0, 41.0).reshape(2, 4, 5)
    depths[0, 0, 0] = NAN
    seen = DEPTH.in_classes(split_of(depths))
    masks = torch.stack([sample.mask for sample in seen])
    assert masks[0, 0, 0] == VOID
    counts = torch.bincount(masks[masks != VOID].long())
    assert (len(counts), int(counts.min()), int(counts.max())) == (10, 3, 5)
    assert seen.spec.classes[0].startswith("0 to ")
    assert seen.spec.classes[-1].endswith(" to far")
    assert seen.spec.task == "segmentation"
    probe = draw_probe_set(seen, 30)
    assert probe.numbers is not None
    expected = [
        depths[image, y, x] for image, y, x in zip(probe.image_of_pixel, probe.rows, probe.columns, strict=True)
    ]
    assert probe.numbers.tolist() == [float(each) for each in expected]
    assert torch.equal(probe.of_images([1]).numbers, probe.numbers[probe.pixels_of(1)])
    # All that is beyond a range of sensors has one depth: its interval is the last.
    far = DEPTH.in_classes(split_of(torch.cat([depths, torch.full((2, 4, 5), 80.0)])))
    assert far.spec.classes[-1] == "80 to far"
    assert (far[3].mask == len(far.spec.classes) - 1).all()


def test_a_check_is_told_the_range() -> None:
    (note,) = DEPTH.notes_on(split_of(TRUTH))
    assert note == "Depths of train are 1 to 80 m, half of them below 4 m; 50.0 % of the pixels are not known."
    assert DEPTH.notes_on(split_of(DEPTH.without_truth(TRUTH))) == ("No depth of train is known.",)


def test_pictures_show_where_a_prediction_is_wrong() -> None:
    image = torch.zeros(3, 1, 3, dtype=torch.uint8)
    truth, found = torch.tensor([[1.0, 10.0, NAN]]), torch.tensor([[[1.0, 5.0, 7.0]]])
    pictures = DEPTH.pictures(image, truth, {"a": found[0][None] * 2, "ensemble": found})
    assert list(pictures) == ["image", "ground truth", "a", "ensemble", "error of ensemble"]
    near, far, unknown = pictures["ground truth"][:, 0].int().sum(dim=0).tolist()
    assert near > unknown > far
    right, wrong, _ = pictures["error of ensemble"][1, 0].tolist()
    assert right > 240 > wrong


@pytest.mark.parametrize("name", ["harbour_drive", "parlour", "farmland", "reef"])
def test_worlds_have_depths_that_fit_what_they_show(name: str) -> None:
    world, depths = open_dataset(f"worlds/{name}@6"), open_dataset(f"depths/{name}@6")
    assert (depths.reference, depths.spec.name, depths.spec.task) == (f"depths/{name}@6", f"depths_{name}", "depth")
    assert depths.train.identifiers == world.train.identifiers
    for labelled, measured in zip(world.train, depths.train, strict=True):
        assert torch.equal(labelled.image, measured.image)
        known, depth = ~measured.mask.isnan(), measured.mask
        assert (depth[known] > 1).all()
        assert (depth[known] <= 80).all()
        endless = {"harbour_drive": "sky", "reef": "water"}.get(name)
        empty = labelled.mask == world.spec.classes.index(endless) if endless else torch.zeros_like(known)
        assert torch.equal(~known, empty)
        if name != "reef":  # fish are near, wherever they swim
            rows = depth.nanquantile(0.9, dim=1)
            assert rows[-1] < rows[len(rows) * 3 // 4]  # the ground comes nearer towards the viewer


@dataclass(frozen=True)
class Course:
    """What the commands made."""

    target: Dataset
    pool: Path
    selection: Path
    run: Path


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Three members, a selection and a fine-tuned ensemble, each by its command."""
    root = tmp_path_factory.mktemp("depths")
    made = Course(open_dataset("depths/attic"), root / "pool", root / "selected", root / "tuned")
    usual = {"steps": 12, "batch_size": 8, "learning_rate": 0.05, "loss": "l1_smoothness", "crop_size": 32}
    sources = ["depths/office@16", "depths/parlour@16", "worlds/office@16"]
    plan = {"datasets": sources[:2], "architectures": ["small_fpn"], "pretrainings": ["none"]}
    config = {"plan": plan, "output": str(made.pool), "training": {**usual, "image_size": 32}, "workers": 1}
    (root / "depth.yaml").write_text(yaml.safe_dump(config), "utf-8")
    assert start("train", arguments=["--config", str(root / "depth.yaml"), "--hardware.device", "cpu"]) == 0
    settings = SourceSettings(steps=12, batch_size=8, learning_rate=0.05, crop_size=32, image_size=32)
    job = MemberJob("masks", made.pool, sources[2], "small_fpn", "none", settings, Hardware("cpu"))
    train_member(job, lambda step, loss: None)
    (root / "finetune.yaml").write_text(yaml.safe_dump({"training": {**usual, "learning_rates": [0.05]}}), "utf-8")
    cpu = ["--hardware.device", "cpu"]
    chosen = ["--pool", str(made.pool), "--target", made.target.reference, "--output", str(made.selection)]
    small = ["--size", "2", "--cache_gb", "0", "--device", "cpu", "--metrics", "auto,logme_regression,ridge_probe"]
    assert start("select", arguments=[*chosen, *small]) == 0
    tune = ["--config", str(root / "finetune.yaml"), "--selection", str(made.selection), "--output", str(made.run)]
    assert start("finetune", arguments=[*tune, "--equal_cost", "false", *cpu]) == 0
    return made


def test_members_learn_depths(course: Course) -> None:
    card = next(member.card for member in Pool.open(course.pool) if member.card.dataset == "depths_office")
    assert (card.task, card.classes) == ("depth", ("depth",))
    assert card.test_result is not None
    assert card.test_error is not None
    assert 0 < card.test_error < 3


def test_depths_are_chosen_by_the_mean_of_ridge_predictions(course: Course) -> None:
    record = yaml.safe_load((course.selection / "selection.yaml").read_text("utf-8"))
    assert (record["task"], record["metric"], record["target"]) == ("depth", "ridge_mean", "depths_attic")
    ranking = pd.read_parquet(course.selection / "ranking.parquet")
    settings = SelectionSettings(size=2, device="cpu")
    seen, pool = seen_images(course.target, settings), Pool.open(course.pool).used_for(course.target.spec)
    reader = probe_reader(seen, list(pool), settings, torch.device("cpu"))
    features = {member.name: reader.read_all(member.load_model()).features for member in pool}
    assert len(features) == 3  # one of them knows classes, two depths
    for names in combinations(features, 2):
        of_both = [features[name] for name in names]
        expected = ridge_mean(of_both, reader.probe.numbers, reader.probe.image_of_pixel)
        row = ranking[[set(names) == set(each) for each in _members_of(ranking)]]
        assert row["ridge_mean"].item() == pytest.approx(expected, abs=1e-5)
        alone = sum(ridge_probe(each, reader.probe.numbers, reader.probe.image_of_pixel) for each in of_both)
        assert row["ridge_probe"].item() == pytest.approx(alone, abs=1e-5)
    assert set(record["members"]) == set(_members_of(ranking)[int(ranking["ridge_mean"].argmax())])
    assert "Ridge mean" in (course.selection / "report.html").read_text("utf-8")


def _members_of(ranking: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(row) for row in ranking.filter(like="member").to_numpy()]


def test_a_member_of_depths_has_no_classes_to_translate(course: Course) -> None:
    options = {"size": 1, "predictor": "eep", "metric": "leep", "metrics": (), "cache_gb": 0.0, "resamples": 0}
    with pytest.warns(UserWarning, match=r"Member 'depths_.*' is left out: .*it has no source classes"):
        chosen = muster.select(course.pool, "worlds/attic", image_size=32, device="cpu", **options)
    assert chosen.members == ("masks",)
    both = muster.select(course.pool, "worlds/attic", image_size=32, device="cpu", size=2, cache_gb=0.0, resamples=0)
    assert any("depths" in name for name in both.members)  # by its features it is a candidate like others
    assert len(both.member_scores) == 3
    options = {"metric": "ridge_mean", "metrics": (), "image_size": 32, "device": "cpu", "cache_gb": 0.0}
    told = pytest.raises(SelectionError, match="the truth of the target is classes, not numbers")
    with pytest.warns(UserWarning, match="ridge_mean is a metric of depth|is left out"), told:
        muster.select(course.pool, "worlds/attic", **options)


def test_the_result_is_that_of_the_depths_that_the_ensemble_predicts(course: Course, tmp_path: Path) -> None:
    result = yaml.safe_load((course.run / "result.yaml").read_text("utf-8"))
    asked = ["--images", str(_images(course, tmp_path / "images")), "--ensemble", str(course.run)]
    asked += ["--output", str(tmp_path / "o"), "--hardware.device", "cpu"]
    assert start("predict", arguments=asked) == 0
    found, truths = [], []
    for sample in course.target.test:
        with Image.open(tmp_path / "o" / "depth" / f"{sample.identifier}.png") as file:
            stored, mode = np.array(file), file.mode
        assert mode == "I;16"
        known = ~sample.mask.isnan().numpy()
        found.append(stored[known] / 256)
        truths.append(sample.mask.numpy()[known])
        with Image.open(tmp_path / "o" / "pictures" / f"{sample.identifier}.jpg") as file:
            assert file.size == (2 * known.shape[1], known.shape[0])
    predicted, truth = np.concatenate(found), np.concatenate(truths)
    hits = np.maximum(predicted / truth, truth / predicted) < 1.25
    assert result["results"][LEARNED_HEAD] == pytest.approx(hits.mean(), abs=2e-3)  # stored in steps of 4 mm
    assert result["errors"][LEARNED_HEAD] == pytest.approx(np.sqrt(((predicted - truth) ** 2).mean()), rel=1e-3)
    assert (result["task"], result["class_pixels"]) == ("depth", [len(truth)])
    low, high = result["result_intervals"][LEARNED_HEAD]
    assert low <= result["results"][LEARNED_HEAD] <= high
    page = (course.run / "report.html").read_text("utf-8")
    assert "Delta &lt; 1.25 on the 60 test images" in page
    assert "RMSE in metres" in page
    assert "error of ensemble" in page
    assert "mIoU" not in page
    assert (course.run / "images.png").is_file()
    wanted, quiet = PredictionSettings(confidence=True), Console(quiet=True)
    with pytest.raises(ConfigError, match="--confidence: the ensemble predicts depth"):
        predict_folder(tmp_path / "images", course.run, tmp_path / "p", "cpu", quiet, settings=wanted)


def _images(course: Course, folder: Path) -> Path:
    folder.mkdir()
    for sample in course.target.test:
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(folder / f"{sample.identifier}.png")
    return folder


def test_an_exported_ensemble_gives_depths_and_millimetres(course: Course) -> None:
    loaded, image = muster.load_ensemble(course.run), course.target.test[0].image[None]
    with torch.no_grad():
        depth, whole = EnsembleGraph(loaded)(image)
    expected = loaded(loaded.prepare(image), image.shape[2:])
    assert torch.allclose(depth, expected, rtol=1e-4)
    assert (whole - 1000 * depth[:, 0]).abs().max() <= 0.51
    assert describe(read_card(course.run))["muster.outputs"].startswith(
        "depth: float32 [batch, outputs, height, width]; mi"
    )


def test_evaluation_shows_both_numbers(course: Course, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "table.csv"
    asked = [
        "--target",
        course.target.reference,
        "--ensemble",
        str(course.run),
        "--table",
        str(table),
        "--hardware.device",
        "cpu",
    ]
    assert start("evaluate", arguments=asked) == 0
    assert "RMSE in metres" in capsys.readouterr().out
    result = yaml.safe_load((course.run / "result.yaml").read_text("utf-8"))
    row = pd.read_csv(table).iloc[0]
    assert row["result"] == pytest.approx(result["results"][LEARNED_HEAD], abs=1e-3)
    assert row["error"] == pytest.approx(result["errors"][LEARNED_HEAD], rel=1e-3)


def test_one_network_is_taught_by_an_ensemble_of_depths(
    course: Course, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--ensemble", str(course.run), "--architecture", "small_fpn", "--output", str(tmp_path / "taught")]
    assert start("distil", arguments=[*asked, "--hardware.device", "cpu"]) == 2
    assert "training.loss: expected one for depth (l1, l1_smoothness), but got 'scores'" in capsys.readouterr().err
    options = {"loss": "l1", "steps": 20, "batch_size": 8, "learning_rate": 0.05, "crop_size": 32}
    quick = [word for name, value in options.items() for word in (f"--training.{name}", str(value))]
    assert start("distil", arguments=[*asked, *quick, "--hardware.device", "cpu"]) == 0
    record = yaml.safe_load((tmp_path / "taught" / "distillation.yaml").read_text("utf-8"))
    assert set(record["models"]) == {"ensemble", "distilled", "uniform soup", "greedy soup", "B1"}
    assert record["losses"][-1][1] < 0.7 * record["losses"][0][1]
