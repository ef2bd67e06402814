"""A task that muster does not know, written here: one number for an image. The rest of muster needs no other line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import muster
from muster.commands.predict import predict_folder
from muster.commands.predictions.of_images import OfImages
from muster.commands.predictions.settings import PredictionSettings
from muster.commands.predictions.writer import WRITERS
from muster.commands.terminal import make_console
from muster.data import Dataset, DatasetSpec, Sample, Split, open_dataset, read_image
from muster.data.dataset_yaml import Heading
from muster.data.layout import LAYOUTS, Layout
from muster.errors import ConfigError
from muster.tasks.loss import LOSSES, LossOptions, per_labelled_pixel
from muster.tasks.task import TASKS, Task
from muster.training.head_training import head_loss
from muster.training.member_job import MemberJob
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN
from muster.training.settings import TrainingSettings
from muster.training.source import train_member
from tests.tasks.course import Course, fine_tune, run_course

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

INTERVALS = 4


class Numbers(Layout):
    """``train/`` and ``test/`` with images and ``numbers.csv``."""

    def recognises(self, folder: Path) -> bool:
        return (folder / "train" / "numbers.csv").is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        folder = heading.root
        spec = DatasetSpec(folder.name, "tones", ("tone",), task="regression")
        train, test = (self._split(spec, folder / name) for name in ("train", "test"))
        return Dataset(spec, train, test, reference)

    def _split(self, spec: DatasetSpec, folder: Path) -> Split:
        with (folder / "numbers.csv").open() as file:
            numbers = {row["image"]: float(row["number"]) for row in csv.DictReader(file)}
        reader = Reader(folder, numbers)
        return Split(spec, folder.name, tuple(numbers), reader, reader.mask)


@dataclass(frozen=True)
class Reader:
    """The truth is float32 ``[1, 1]``."""

    folder: Path
    numbers: dict[str, float]

    def __call__(self, identifier: str) -> Sample:
        return Sample(identifier, read_image(self.folder / identifier), self.mask(identifier))

    def mask(self, identifier: str) -> Tensor:
        return torch.tensor([[self.numbers[identifier]]])


@dataclass(frozen=True)
class Binned:
    """The truth is the interval that the number lies in."""

    split: Split
    edges: Tensor

    def __call__(self, identifier: str) -> Sample:
        sample = self.split.read(identifier)
        return sample._replace(mask=torch.bucketize(sample.mask, self.edges))

    def mask(self, identifier: str) -> Tensor:
        return torch.bucketize(self.split.mask_of(identifier), self.edges)


class Squared:
    """Squared error."""

    takes_options = False

    def __call__(self, scores: Tensor, masks: Tensor, options: LossOptions) -> Tensor:
        known = ~masks.isnan()
        total = (scores[:, 0] - masks).where(known, 0.0).square().sum()
        return per_labelled_pixel(total, known.long() - 1, void=-1)


class Regression(Task):
    """R2: the share of the variance of the truths that predictions explain."""

    name, unit, result, key, class_result = "regression", "image", "R2", "r2", "R2"
    is_pooled = True
    losses = ("squared",)
    selected_as = "classification"
    written_as = "tones"

    def in_classes(self, split: Split) -> Split:
        """Intervals with as many images each."""
        truths = torch.cat([split.mask(place).flatten() for place in range(len(split))])
        edges = truths.quantile(torch.linspace(0, 1, INTERVALS + 1)[1:-1])
        names = tuple(f"interval {place}" for place in range(INTERVALS))
        spec, reader = replace(split.spec, task=self.selected_as, classes=names), Binned(split, edges)
        return replace(split, spec=spec, read=reader, read_mask=reader.mask)

    def some_classes(self, spec: DatasetSpec, places: Sequence[int | None]) -> Callable[[Tensor], Tensor]:
        """One number is one class, and stays."""
        return torch.clone

    def activate(self, scores: Tensor) -> Tensor:
        return scores.float()

    def decide(self, predictions: Tensor) -> Tensor:
        return predictions[:, 0]

    def without_truth(self, truth: Tensor) -> Tensor:
        return torch.full_like(truth, torch.nan)

    def is_known(self, truth: Tensor) -> Tensor:
        return ~truth.isnan()

    def about_truth(self, predictions: Tensor, truth: Tensor) -> Tensor:
        return predictions

    def unit_losses(self, about_truth: Tensor, truth: Tensor) -> Tensor:
        return (about_truth[0] - truth).square()

    def known_units(self, truth: Tensor) -> tuple[Tensor, Tensor]:
        places = self.is_known(truth.flatten()).nonzero()[:, 0]
        return places, truth.flatten()[places]

    def no_tally(self, outputs: int) -> Tensor:
        return torch.zeros(4, dtype=torch.float64)

    def tally(self, decided: Tensor, truth: Tensor, outputs: int) -> Tensor:
        """Of each image: one, its truth, the square of that, and the squared error."""
        known, truth = self.is_known(truth)[:, 0, 0].double(), truth.double().nan_to_num()[:, 0, 0]
        error = (decided.double()[:, 0, 0] - truth) * known
        return torch.stack([known, truth, truth.square(), error.square()], dim=1)

    def digest(self, tally: Tensor) -> Tensor:
        return tally

    def results(self, digests: Tensor) -> Tensor:
        count, total, squares, errors = digests.unbind(dim=-1)
        return 1 - errors / (squares - total.square() / count)

    def class_results_of(self, tally: Tensor) -> tuple[float | None, ...]:
        return (float(self.results(tally)),)

    def guess(self, train: Split, tally: Tensor) -> float:
        """The mean of the training images."""
        mean = torch.cat([train.mask(place).flatten() for place in range(len(train))]).double().mean()
        count, total, squares, _ = tally.unbind()
        return self.result_of(torch.stack([count, total, squares, squares - 2 * mean * total + count * mean.square()]))

    def units_of_outputs(self, tally: Tensor) -> tuple[int, ...]:
        return (int(tally[0]),)


class Tones(OfImages):
    """Writes a line for every image."""

    lines = ""

    @staticmethod
    def takes(task: Task) -> bool:
        return False  # of other tasks

    @property
    def parts(self) -> tuple[str, ...]:
        return ("tones.txt",)

    def add(self, name: str, sample: Path) -> bool:
        self.lines += f"{name} {float(self.ensemble.classify(read_image(sample))[0]):.4f}\n"
        return False

    def finish(self) -> None:
        (self.output / "tones.txt").write_text(self.lines)


@pytest.fixture(scope="module", autouse=True)
def _known() -> Iterator[None]:
    """Known to muster while this file is tested."""
    TASKS.add("regression", Regression())
    WRITERS.add("tones", Tones)
    LOSSES.add("squared", Squared())
    LAYOUTS.add("numbers", Numbers())
    yield
    TASKS.remove("regression")
    LOSSES.remove("squared")
    LAYOUTS.remove("numbers")
    WRITERS.remove("tones")


def write(root: Path, counts: dict[str, int], channel: int, seed: int) -> str:
    """Noise; the number is the tone of one channel, from -1 to 1."""
    generator = np.random.default_rng(seed)
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        with (root / split / "numbers.csv").open("w") as file:
            file.write("image,number\n")
            for place in range(count):
                tone = generator.uniform(-1, 1)
                pixels = generator.normal(128, 30, (32, 32, 3))
                pixels[..., channel] += 60 * tone
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / split / f"{place}.png")
                file.write(f"{place}.png,{tone:.4f}\n")
    return str(root)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    root = tmp_path_factory.mktemp("regression")
    counts = {"train": 30, "test": 12}
    sources = {name: write(root / name, counts, channel, 1 + channel) for channel, name in enumerate(("red", "green"))}
    target = open_dataset(write(root / "target", counts, 0, 0))
    return run_course(root, sources, target, "squared")


def test_members_learn_the_number(course: Course) -> None:
    card = course.pool["red"].card
    assert (card.task, card.classes) == ("regression", ("tone",))
    assert card.test_result is not None
    assert card.test_result > 0.5  # R2 of a network that saw tones
    assert card.majority_result is not None
    assert card.majority_result <= 0


def test_a_selection_sees_intervals(course: Course) -> None:
    selection = course.selection
    assert (selection.task, selection.words.name) == ("regression", "classification")
    assert selection.classes == tuple(f"interval {place}" for place in range(INTERVALS))
    assert set(selection.members) == {"red", "green"}
    assert selection.single_best == "red"  # its source has the same tones
    assert "Predicted accuracy of each class" in (course.folder / "selection.html").read_text("utf-8")


def test_the_result_is_r2_of_what_the_ensemble_predicts(course: Course) -> None:
    result, test = course.result, course.target.dataset.test
    loaded = muster.load_ensemble(course.folder / "run" / "ensemble")
    found = np.array([float(loaded.classify(sample.image)[0]) for sample in test])
    truth = np.array([float(sample.mask) for sample in test])
    by_hand = 1 - ((found - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert result.results[LEARNED_HEAD] == pytest.approx(by_hand, abs=1e-4)
    assert result.results[LEARNED_HEAD] > 0.5
    assert (result.words.result, result.class_pixels, result.confusion) == ("R2", (12,), ())
    low, high = result.result_intervals[LEARNED_HEAD]
    assert low <= result.results[LEARNED_HEAD] <= high
    page = (course.folder / "finetuning.html").read_text("utf-8")
    assert "R2 on the 12 test images" in page
    assert "mIoU" not in page


def test_the_head_lowers_the_squared_error(course: Course) -> None:
    ensemble, plain = course.ensemble, course.ensemble.of_one("one", next(iter(course.ensemble.models.values())))
    plain.members, plain.names = ensemble.members, ensemble.names
    plain.head = type(ensemble.head)(len(ensemble.names), 1)

    def loss(of: muster.training.finetuned_ensemble.Ensemble) -> float:
        total = 0.0
        for sample in course.target.train:
            maps = ensemble.member_maps(ensemble.prepare(sample.image[None]))
            total += float(head_loss(of.task, of.head, maps, sample.mask).detach())
        return total

    assert loss(ensemble) <= loss(plain)
    assert PLAIN_MEAN in course.result.results


def test_the_truth_of_a_whole_image_is_not_resized_for_frozen_members(course: Course, tmp_path: Path) -> None:
    settings = TrainingSettings(steps=40, batch_size=8, crop_size=32, learning_rate=0.1, loss="squared", adapt="frozen")
    run = fine_tune(tmp_path / "frozen", course.pool, course.selection, course.target.dataset, settings)
    assert run.result.results[LEARNED_HEAD] > 0.3  # whole numbers would leave nothing between -1, 0 and 1


def test_some_classes_are_what_the_task_makes_of_them(course: Course) -> None:
    whole = course.target.dataset
    some = open_dataset(f"{whole.reference}#1")
    assert (some.spec.task, some.spec.classes, some.train.identifiers) == (
        "regression",
        ("tone",),
        whole.train.identifiers,
    )
    assert torch.equal(some.test.mask(0), whole.test.mask(0))


def test_predictions_are_files_of_its_own(course: Course, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, ensemble = course.folder / "target" / "test", course.folder / "run" / "ensemble"
    assert predict_folder(images, ensemble, tmp_path / "out", "cpu", make_console()) == 0
    assert "Predicted 12 of 12 images: tones.txt is in" in " ".join(capsys.readouterr().out.split())
    loaded, lines = muster.load_ensemble(ensemble), (tmp_path / "out" / "tones.txt").read_text().splitlines()
    said = {name: float(tone) for name, _, tone in (line.partition(" ") for line in lines)}
    assert said["3"] == pytest.approx(float(loaded.classify(read_image(images / "3.png"))[0]), abs=1e-4)
    with pytest.raises(ConfigError, match="--nms: the ensemble finds no objects"):
        predict_folder(images, ensemble, tmp_path / "x", "cpu", make_console(), settings=PredictionSettings(nms=0.5))


def test_what_needs_classes_is_refused(course: Course, tmp_path: Path) -> None:
    from muster.training.hardware import Hardware
    from muster.training.settings import SourceSettings

    settings = SourceSettings(steps=2, batch_size=4, image_size=32, loss="squared", class_weighting="inverse")
    job = MemberJob("m", tmp_path, course.target.dataset.reference, "small_fpn", "none", settings, Hardware("cpu"))
    with pytest.raises(ConfigError, match=r"class_weighting: expected none, as the truth in regression is no class"):
        train_member(job, lambda step, loss: None)
