"""Several classes for one image: results, losses, what a selection sees, and the whole way on coloured squares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multilabel_average_precision

import muster
from muster.commands.main import start
from muster.data import VOID, DatasetSpec, Sample, Split, open_dataset, prepared_images
from muster.execution.progress import TrainingProgress
from muster.pool import Pool
from muster.probe import draw_probe_set
from muster.report.study_report import write_study_report
from muster.study.findings import Findings
from muster.study.fits import load_fitted
from muster.study.plan import StudyPlan
from muster.study.run import run_study
from muster.study.settings import StudySettings
from muster.study.whole_images import WholeImages
from muster.tasks.loss import LossOptions
from muster.tasks.multilabel import MULTILABEL, average_precision
from muster.training.hardware import Hardware
from muster.training.results import LEARNED_HEAD
from muster.training.settings import HeadSettings, TrainingSettings
from tests.execution.this_process import ThisProcess, without_workers

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

CLASSES = ("red", "green", "blue")
TRUTHS = torch.tensor([[1, 1, 0], [0, 0, 0], [0, VOID, 1], [1, 0, 0]], dtype=torch.uint8)[..., None]


def split_of(truths: Tensor) -> Split:
    """Grey images with these truths."""
    spec = DatasetSpec("made up", "none", CLASSES, task="multilabel")
    image = torch.full((3, 8, 8), 99, dtype=torch.uint8)
    return Split(
        spec, "train", tuple(map(str, range(len(truths)))), lambda name: Sample(name, image, truths[int(name)])
    )


def test_average_precision_by_hand() -> None:
    # From the largest score down: has, has not, has: 1/2 (1/1) + 1/2 (2/3).
    counts = torch.zeros(1, 2, 4, dtype=torch.int64)
    counts[0, 1, 3] = counts[0, 0, 2] = counts[0, 1, 0] = 1
    assert average_precision(counts).item() == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision(torch.zeros(1, 2, 4)).isnan().all()


def test_results_are_those_of_exact_scores_but_for_the_width_of_an_interval() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = (torch.rand(400, 3, generator=generator) < torch.tensor([0.5, 0.1, 0.3])).long()
    scores = 2 * truth + 1.5 * torch.randn(400, 3, generator=generator)
    predictions = MULTILABEL.activate(scores[..., None, None])
    tally = MULTILABEL.tally(MULTILABEL.decide(predictions), truth[..., None], 3)
    exact = multilabel_average_precision(predictions[..., 0, 0], truth, 3, average="none", thresholds=None)
    assert MULTILABEL.class_results_of(tally.sum(dim=0)) == pytest.approx(tuple(exact.tolist()), abs=0.01)
    assert MULTILABEL.result_of(tally.sum(dim=0)) == pytest.approx(float(exact.mean()), abs=0.01)
    assert MULTILABEL.guess(split_of(TRUTHS), tally.sum(dim=0)) == pytest.approx(float(truth.double().mean()))
    assert MULTILABEL.units_of_outputs(tally.sum(dim=0)) == tuple(truth.sum(dim=0).tolist())


def test_what_is_not_known_counts_nowhere() -> None:
    decided = torch.full((4, 3), 7)
    tally = MULTILABEL.tally(decided, TRUTHS, 3).sum(dim=0)
    assert tally.sum(dim=(1, 2)).tolist() == [4, 3, 4]
    assert tally[:, 1].sum(dim=1).tolist() == [2, 1, 1]
    assert MULTILABEL.tally(decided, MULTILABEL.without_truth(TRUTHS), 3).sum() == 0


def test_losses_are_the_cross_entropy_of_what_is_known() -> None:
    scores = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    known = TRUTHS != VOID
    each = functional.binary_cross_entropy_with_logits(scores[..., 0], (TRUTHS == 1).float(), reduction="none")
    options = LossOptions()
    assert MULTILABEL.loss(scores, TRUTHS.long(), "binary", options) == pytest.approx(float(each[known].mean()))
    void = MULTILABEL.loss(scores, MULTILABEL.without_truth(TRUTHS).long(), "binary", options)
    assert void == 0  # where the mean would be NaN
    half = MULTILABEL.loss(scores.half(), TRUTHS.long(), "binary", options)
    assert half.dtype == torch.float32
    smooth = MULTILABEL.loss(50 * (2.0 * (TRUTHS == 1)[..., None] - 1), TRUTHS.long(), "binary", LossOptions(None, 0.2))
    assert smooth == pytest.approx(0.1 * 50)  # a tenth of each label is spread to the other side
    places, truth = MULTILABEL.known_units(TRUTHS[2])
    assert places.tolist() == [0]
    found = MULTILABEL.unit_losses(MULTILABEL.activate(scores)[2, :, 0], truth)
    assert found.tolist() == pytest.approx([float(each[2][known[2]].mean())], rel=1e-5)
    assert len(MULTILABEL.known_units(torch.full((3, 1), VOID))[0]) == 0


def test_a_selection_sees_each_class_of_an_image_once() -> None:
    seen = MULTILABEL.in_classes(split_of(TRUTHS))
    assert [sample.mask.flatten().tolist() for sample in seen] == [[0, 1], [], [2], [0]]
    probe = draw_probe_set(seen, 1000)
    assert probe.labels.tolist() == [0, 1, 2, 0]
    assert probe.image_of_pixel.tolist() == [0, 0, 2, 3]
    assert probe.void_images == ("1",)
    assert probe.class_shares.tolist() == [[0.5, 0.5, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_a_choice_of_images_has_two_of_each_class_where_there_are_so_many() -> None:
    truths = torch.zeros(60, 3, 1, dtype=torch.uint8)
    truths[::2, 0], truths[[7, 22, 41], 1], truths[5, 2] = 1, 1, 1
    split = split_of(truths)
    for seed in range(10):
        chosen = MULTILABEL.subset(split, 6, seed)
        has = (torch.stack([chosen.mask(index)[:, 0] for index in range(len(chosen))]) == 1).sum(dim=0).tolist()
        assert len(chosen) == 6
        assert (has[0] >= 2, has[1] >= 2, has[2]) == (True, True, 1)
        assert list(map(int, chosen.identifiers)) == sorted(map(int, chosen.identifiers))
    assert len({MULTILABEL.subset(split, 6, seed).identifiers for seed in range(10)}) > 5
    assert MULTILABEL.subset(split, 6, 3).identifiers == MULTILABEL.subset(split, 6, 3).identifiers
    few = MULTILABEL.subset(split, 2, 0)  # the rarest first
    assert "5" in few.identifiers
    assert MULTILABEL.subset(split, 60, 0) is split


def test_notes_say_what_a_check_does_not_see() -> None:
    unknown, *more = MULTILABEL.notes_on(split_of(TRUTHS))
    assert unknown == "Images of train of which it is not known whether they have a class: green: 1."
    assert more == []
    unknown, always = MULTILABEL.notes_on(split_of(TRUTHS[[0, 2]]))
    assert "No image of train is known to be without green: " in always


def write(root: Path, seed: int, train: int = 32, test: int = 16) -> str:
    generator = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        (root / split).mkdir(parents=True)
        lines = ["image,labels"]
        for place in range(count):
            shown, pixels = generator.random(3) < 0.4, generator.normal(110, 25, (32, 32, 3))
            for channel in np.flatnonzero(shown):
                row, column = generator.integers(0, 16, 2)
                pixels[row : row + 16, column : column + 16, channel] += 110
            lines.append(f"{split}/{place}.png,{'; '.join(np.array(CLASSES)[shown])}")
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / split / f"{place}.png")
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    (root / "dataset.yaml").write_text(f"domain: squares\nclasses: [{', '.join(CLASSES)}]\n")
    return str(root)


@dataclass(frozen=True)
class Course:
    """What the commands made."""

    target: Path
    pool: Path
    selection: Path
    run: Path


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Two members, a selection and a fine-tuned ensemble, each by its command."""
    root = tmp_path_factory.mktemp("squares")
    made = Course(root / "target", root / "pool", root / "selected", root / "tuned")
    write(made.target, 0)
    sources = [write(root / f"source{seed}", seed) for seed in (1, 2)]
    usual = {"steps": 12, "batch_size": 8, "learning_rate": 0.02, "loss": "binary", "crop_size": 32}
    plan = {"datasets": sources, "architectures": ["small_fpn"], "pretrainings": ["none"]}
    config = {"plan": plan, "output": str(made.pool), "training": {**usual, "image_size": 32}, "workers": 1}
    (root / "train.yaml").write_text(yaml.safe_dump(config), "utf-8")
    (root / "finetune.yaml").write_text(yaml.safe_dump({"training": {**usual, "learning_rates": [0.02]}}), "utf-8")
    cpu = ["--hardware.device", "cpu"]
    with without_workers():
        assert start("train", arguments=["--config", str(root / "train.yaml"), *cpu]) == 0
    chosen = ["--pool", str(made.pool), "--target", str(made.target), "--output", str(made.selection)]
    small = ["--size", "2", "--cache_gb", "0", "--resamples", "0", "--device", "cpu"]
    assert start("select", arguments=[*chosen, *small]) == 0
    tune = ["--config", str(root / "finetune.yaml"), "--selection", str(made.selection), "--output", str(made.run)]
    assert start("finetune", arguments=[*tune, "--equal_cost", "false", *cpu]) == 0
    return made


def test_the_result_is_mean_ap_of_what_the_ensemble_predicts(course: Course) -> None:
    result, test = (
        yaml.safe_load((course.run / "result.yaml").read_text("utf-8")),
        open_dataset(str(course.target)).test,
    )
    loaded = muster.load_ensemble(course.run)
    found = torch.stack([loaded.classify(sample.image) for sample in test])
    truth = torch.stack([sample.mask[:, 0] for sample in test]).long()
    exact = multilabel_average_precision(found, truth, 3, average="none", thresholds=None)
    assert result["class_ious"][LEARNED_HEAD] == pytest.approx(exact.tolist(), abs=0.05)
    assert (result["task"], result["class_pixels"]) == ("multilabel", truth.sum(dim=0).tolist())
    assert not any((course.run / name).exists() for name in ("confusion.csv", "images.png"))
    assert {member.card.task for member in Pool.open(course.pool)} == {"multilabel"}
    assert "Mean AP on the 16 test images" in (page := (course.run / "report.html").read_text("utf-8"))
    assert "mIoU" not in page
    assert "e_leep" in (course.selection / "selection.yaml").read_text("utf-8")


def test_files_get_all_classes_that_they_rather_have_than_not(course: Course, tmp_path: Path) -> None:
    asked = ["--images", str(course.target / "test"), "--ensemble", str(course.run), "--output", str(tmp_path / "o")]
    assert start("predict", arguments=[*asked, "--hardware.device", "cpu"]) == 0
    lines = (tmp_path / "o" / "classes.csv").read_text("utf-8").splitlines()
    assert lines[0] == "image,file,classes,p(red),p(green),p(blue)"
    for line in lines[1:]:
        _, _, classes, *shares = line.split(",")
        assert classes.split("; ") == [n for n, p in zip(CLASSES, map(float, shares), strict=True) if p >= 0.5] or (
            classes == "" and max(map(float, shares)) < 0.5
        )


def test_an_ensemble_teaches_one_network_the_probability_of_each_class(course: Course, tmp_path: Path) -> None:
    wanted, scores = torch.tensor([0.25, 1.0, 0.5]), torch.tensor([0.4, 2.0, 0.0], requires_grad=True)
    loss = MULTILABEL.soft_loss(scores.view(1, 3, 1, 1), wanted.view(1, 3, 1, 1))
    shares = scores.detach().sigmoid()
    by_hand = -(wanted * shares.log() + (1 - wanted) * (1 - shares).log()).mean()
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-6)
    loss.backward()
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, (shares - wanted) / 3)  # zero where both agree
    quick = ["--training.loss", "binary", "--training.steps", "4", "--training.crop_size", "32"]
    words = ["--ensemble", str(course.run), "--architecture", "small_unet", "--label_weight", "0"]
    where = ["--output", str(tmp_path / "small"), "--hardware.device", "cpu"]
    assert start("distil", arguments=[*words, *quick, *where]) == 0
    record = yaml.safe_load((tmp_path / "small" / "distillation.yaml").read_text("utf-8"))
    assert set(record["models"]) == {"ensemble", "distilled", "uniform soup", "greedy soup", "B1"}
    image = next(iter(open_dataset(str(course.target)).test)).image
    assert muster.load_ensemble(tmp_path / "small").classify(image).shape == (3,)
    curve = [loss for _, loss in record["losses"]]
    assert curve[-1] < curve[0]


def test_single_models_are_ranked_by_the_classes_of_images(course: Course) -> None:
    table = muster.rank(str(course.pool), str(course.target), ["leep", "linear_probe"], show=False, device="cpu")
    assert len(table) == 2
    assert table[["leep", "linear_probe"]].notna().all().all()


def test_a_check_counts_images_that_have_each_class(course: Course, tmp_path: Path) -> None:
    assert start("check", arguments=[str(course.target), "--output", str(tmp_path / "check")]) == 0
    found = yaml.safe_load((tmp_path / "check" / "check.yaml").read_text("utf-8"))
    train = torch.stack([sample.mask[:, 0] for sample in open_dataset(str(course.target)).train])
    assert list(found["splits"]["train"]["class_images"].values()) == (train == 1).sum(dim=0).tolist()
    empty = int((train == 1).any(dim=1).logical_not().sum())
    assert any(note.startswith(f"{empty} image(s)") and "none of the classes" in note for note in found["notes"])
    assert (tmp_path / "check" / "contact_sheet.png").is_file()


def test_a_study_evaluates_all_ensembles_by_mean_ap(course: Course, tmp_path: Path) -> None:
    training = TrainingSettings(steps=4, batch_size=8, crop_size=32, loss="binary").at_rate(0.02)
    settings = StudySettings(
        pools=(course.pool,), targets=(str(course.target),), sizes=(1, 2), size=2, metrics=("e_leep", "leep"),
        predictors=("eep",), heads=("eep",), image_size=32, validation_images=6, distance_images=4,
    )  # fmt: skip
    plan = StudyPlan.of(settings, training, HeadSettings(), Hardware("cpu"), tmp_path / "output", None)
    outcome = run_study(plan, TrainingProgress(Console(quiet=True)), workers=1, executor=ThisProcess())
    assert not outcome.failed
    (cell,), dataset = plan.cells, plan.datasets["target"]
    names = ("source1-small_fpn", "source2-small_fpn")
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for name in names:
        model = load_fitted(plan.fit_folder(cell, 0, name), 3)
        for batch in prepared_images(dataset.test, cell.preprocessing):
            assert isinstance(batch.images, Tensor)
            with torch.no_grad():
                found[name].append(model(batch.images)[:, :, 0, 0].sigmoid())
    truth = torch.stack([sample.mask[:, 0] for sample in dataset.test]).long()
    reached = outcome.tables.ensembles.set_index("members")["result"]
    for members in ((names[0],), (names[1],), names):
        mean = torch.stack([torch.cat(found[name]) for name in members]).mean(dim=0)
        odds = (mean.double().logit().clamp(-10, 10) * 12.8).floor()  # what falls into one interval is taken together
        expected = multilabel_average_precision(odds.div(256).add(0.5), truth, 3, thresholds=None)
        assert reached[" ".join(members)] == pytest.approx(float(expected), abs=1e-6)
    assert outcome.tables.finetuned["validation_result"].between(0, 1).all()
    assert (outcome.tables.ensembles["validation_loss"] > 0).all()
    written = write_study_report(replace(Findings.of(outcome.tables, plan.settings), draws=5), tmp_path)
    assert "mean AP" in written.page.read_text("utf-8")


def test_results_of_kept_predictions_by_hand() -> None:
    """Two members and four images, the last of which nothing is known of."""
    says = torch.tensor([[[0.9], [0.2], [0.6], [0.1]], [[0.1], [0.8], [0.5], [0.9]]])
    truths = torch.tensor([1, 0, 1, VOID], dtype=torch.uint8)[:, None, None]
    kept = WholeImages(MULTILABEL, 2, 1, (1, 2))
    for image, truth in enumerate(truths):
        kept.add([says[member, image][None] for member in range(2)], truth)
    assert len(kept) == 3
    # By the first member both come first; by the second the image without the class does: (1/2 + 2/3) / 2.
    assert kept.results(1).tolist() == pytest.approx([1, 7 / 12])
    assert kept.losses(1)[0] == pytest.approx(-(np.log(0.9) + np.log(0.8) + np.log(0.6)) / 3)
    assert kept.losses(2).tolist() == pytest.approx([-(np.log(0.5) + np.log(0.5) + np.log(0.55)) / 3])
    # The mean is 0.5, 0.5, 0.55: the second has the class and shares its interval with one that has not.
    assert kept.results(2).tolist() == pytest.approx([(1 + 2 / 3) / 2])
    assert np.isnan(WholeImages(MULTILABEL, 2, 1, (2,)).results(2)).all()
