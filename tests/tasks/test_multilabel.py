"""Several classes for one image: results, losses, what a selection sees, and the whole way on coloured squares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multilabel_average_precision

import muster
from muster.commands.predict import predict_folder
from muster.commands.terminal import make_console
from muster.data import VOID, Dataset, DatasetSpec, Sample, Split, open_dataset, read_image
from muster.data.layout import LAYOUTS, Layout
from muster.probe import draw_probe_set
from muster.tasks.loss import LossOptions
from muster.tasks.multilabel import MULTILABEL, average_precision
from muster.training.results import LEARNED_HEAD
from tests.tasks.course import Course, run_course

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


class Squares(Layout):
    """``train/`` and ``test/`` with images that are named by what they show."""

    def recognises(self, folder: Path) -> bool:
        return (folder / "squares").is_file()

    def open(self, folder: Path, reference: str) -> Dataset:
        spec = DatasetSpec(folder.name, "squares", CLASSES, task="multilabel")
        splits = []
        for name in ("train", "test"):
            reader = Reader(folder / name)
            images = tuple(sorted(path.name for path in (folder / name).iterdir()))
            splits.append(Split(spec, name, images, reader, reader.mask))
        return Dataset(spec, *splits, reference)


@dataclass(frozen=True)
class Reader:
    """``7-rb.png`` is red and blue."""

    folder: Path

    def __call__(self, identifier: str) -> Sample:
        return Sample(identifier, read_image(self.folder / identifier), self.mask(identifier))

    def mask(self, identifier: str) -> Tensor:
        return torch.tensor([[int(name[0] in identifier.split("-")[1].split(".")[0])] for name in CLASSES]).byte()


@pytest.fixture(scope="module", autouse=True)
def _known() -> Iterator[None]:
    LAYOUTS.add("squares", Squares())
    yield
    LAYOUTS.remove("squares")


def write(root: Path, seed: int, train: int = 32, test: int = 16) -> str:
    generator = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        (root / split).mkdir(parents=True)
        for place in range(count):
            shown, pixels = generator.random(3) < 0.4, generator.normal(110, 25, (32, 32, 3))
            for channel in np.flatnonzero(shown):
                row, column = generator.integers(0, 16, 2)
                pixels[row : row + 16, column : column + 16, channel] += 110
            letters = "".join(name[0] for name, has in zip(CLASSES, shown, strict=True) if has)
            name = f"{place}-{letters}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / split / name)
    (root / "squares").touch()
    return str(root)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    root = tmp_path_factory.mktemp("squares")
    sources = {f"m{seed}": write(root / f"source{seed}", seed) for seed in (1, 2)}
    return run_course(root, sources, open_dataset(write(root / "target", 0)), "binary")


def test_the_result_is_mean_ap_of_what_the_ensemble_predicts(course: Course) -> None:
    result, test = course.result, course.target.dataset.test
    loaded = muster.load_ensemble(course.folder / "run" / "ensemble")
    found = torch.stack([loaded.classify(sample.image) for sample in test])
    truth = torch.stack([sample.mask[:, 0] for sample in test]).long()
    exact = multilabel_average_precision(found, truth, 3, average="none", thresholds=None)
    assert result.class_ious[LEARNED_HEAD] == pytest.approx(tuple(exact.tolist()), abs=0.05)
    assert (result.task, result.words.title, result.confusion) == ("multilabel", "Mean AP", ())
    assert result.class_pixels == tuple(truth.sum(dim=0).tolist())
    assert course.pool["m1"].card.task == "multilabel"
    page = (course.folder / "finetuning.html").read_text("utf-8")
    assert "Mean AP on the 16 test images" in page
    assert "mIoU" not in page


def test_files_get_all_classes_that_they_rather_have_than_not(course: Course, tmp_path: Path) -> None:
    folder = Path(course.target.dataset.reference) / "test"
    assert predict_folder(folder, course.folder / "run" / "ensemble", tmp_path / "o", "cpu", make_console()) == 0
    lines = (tmp_path / "o" / "classes.csv").read_text("utf-8").splitlines()
    assert lines[0] == "image,file,classes,p(red),p(green),p(blue)"
    for line in lines[1:]:
        _, _, classes, *shares = line.split(",")
        assert classes.split("; ") == [n for n, p in zip(CLASSES, map(float, shares), strict=True) if p >= 0.5] or (
            classes == "" and max(map(float, shares)) < 0.5
        )
