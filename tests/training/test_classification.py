"""Classifying whole images, from training to a table of predictions: the way of segmentation, and no other code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import muster
from muster.commands.predict import predict_folder
from muster.commands.terminal import make_console
from muster.data import Dataset, open_dataset, prepare_image
from muster.errors import ConfigError
from muster.models import build_model
from muster.models.pooled import Pooled
from muster.pool import Pool
from muster.report import write_finetuning_report, write_selection_report
from muster.report.distillation import headline, write_distillation_report
from muster.report.finetuned_images import finetuned_images
from muster.selection import Selection
from muster.selection.run import select
from muster.training.distilling import UNIFORM, compare, result_of, soups_of, teach
from muster.training.finetuned_ensemble import Ensemble
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.multi_source import train_multi_source
from muster.training.results import LEARNED_HEAD
from muster.training.run_files import ENSEMBLE
from muster.training.settings import SourceSettings, TrainingSettings
from muster.training.source import train_member
from tests.data.test_image_folders import write
from tests.helpers import make_member
from tests.tasks.course import Run, fine_tune

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

SOURCE = SourceSettings(
    steps=8, batch_size=6, image_size=32, crop_size=32, learning_rate=0.05, validation_fraction=0.2, validate_every=4
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Noise of three tones that overlap: perfect predictions would tie, and are questioned aloud."""
    root, noise = tmp_path_factory.mktemp("target") / "tones", np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for name, tone in (("dark", 100), ("grey", 120), ("light", 140)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                middle = tone + noise.normal(0, 12)
                pixels = noise.normal(middle, 40, (32, 32 + 4 * (number % 2), 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return open_dataset(str(root))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Two classifiers of scenes, and a network that was trained to segment."""
    folder = tmp_path_factory.mktemp("pool")
    for name in ("waters", "land"):
        job = MemberJob(name, folder, f"scenes/{name}", "small_fpn", "none", SOURCE, Hardware("cpu"))
        train_member(job, lambda step, loss: None)
    make_member(folder, "segmenter", 0)
    return Pool.open(folder)


@pytest.fixture(scope="module")
def selection(pool: Pool, target: Dataset) -> Selection:
    return select(pool, target, size=2, cache_gb=0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pool: Pool, selection: Selection, target: Dataset) -> Run:
    settings = TrainingSettings(steps=6, batch_size=6, crop_size=32)
    return fine_tune(tmp_path_factory.mktemp("run"), pool, selection, target, settings)


def test_a_member_learns_and_says_so(pool: Pool) -> None:
    card = pool["land"].card
    assert (card.task, card.classes) == ("classification", ("farmland", "suburb", "delta"))
    assert card.majority_result == pytest.approx(1 / 3)
    model, test = pool["land"].load_model(), open_dataset("scenes/land").test
    assert isinstance(model, Pooled)
    preprocessing = pool["land"].card
    assert preprocessing.test_result is not None
    history = pd.read_csv(pool["land"].folder / "history.csv")
    assert "top1/land" in history
    assert card.test_images == len(test)


def test_the_result_on_the_card_is_that_of_the_weights(pool: Pool) -> None:
    from muster.data import ChannelStatistics, ImageSize, Preprocessing

    card, model = pool["waters"].card, pool["waters"].load_model()
    shown = Preprocessing(ChannelStatistics(card.mean, card.std), ImageSize.of(32))
    test = open_dataset("scenes/waters").test
    hits = [int(model.predict(prepare_image(s.image, shown)[None]).argmax()) == int(s.mask) for s in test]
    assert card.test_result == pytest.approx(sum(hits) / len(hits))


def test_networks_that_segment_are_candidates_too(selection: Selection) -> None:
    assert set(selection.member_names) == {"waters", "land", "segmenter"}
    assert selection.task == "classification"
    assert len(selection.train_images) == 18
    assert all(value is None or 0 <= value <= 1 for value in selection.class_ious)


def test_classifiers_of_our_own_are_candidates_for_segmentation(pool: Pool) -> None:
    """By the map that their prediction is the mean of."""
    chosen = select(pool, "worlds/attic", size=2, train_images=4, cache_gb=0.0, resamples=0)
    assert (chosen.task, set(chosen.member_names)) == ("segmentation", {"waters", "land", "segmenter"})


def test_the_result_is_the_share_of_images_that_are_right(run: Run) -> None:
    loaded = muster.load_ensemble(run.folder / ENSEMBLE)
    test = run.target.dataset.test
    hits = [int(loaded.classify(sample.image).argmax()) == int(sample.mask) for sample in test]
    assert run.result.results[LEARNED_HEAD] == pytest.approx(sum(hits) / len(hits))
    assert run.result.class_pixels == (3, 3, 3)
    assert (run.result.task, run.result.words.result) == ("classification", "top-1 accuracy")
    with pytest.raises(ValueError, match="this one classifies images; use classify"):
        loaded.predict(test[0].image)


def test_reports_speak_of_images_and_accuracy(run: Run, pool: Pool, selection: Selection, tmp_path: Path) -> None:
    images = finetuned_images(run.ensemble, run.target, 2)
    write_finetuning_report(run.result, tmp_path / "finetuning.html", images)
    page = (tmp_path / "finetuning.html").read_text("utf-8")
    assert "Top-1 accuracy on the 9 test images" in page
    assert "mIoU" not in page
    assert "void, never scored" not in page
    write_selection_report(selection, pool, run.target.dataset, tmp_path / "selection.html")
    page = (tmp_path / "selection.html").read_text("utf-8")
    assert "Predicted accuracy of each class" in page
    assert "source top-1 accuracy" in page


def test_files_are_classified_in_one_table(run: Run, target: Dataset, tmp_path: Path) -> None:
    folder = Path(target.reference) / "test" / "light"
    (tmp_path / "images").mkdir()
    for path in folder.iterdir():
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "images" / "torn.png").write_bytes(b"no image")
    output = tmp_path / "output"
    assert predict_folder(tmp_path / "images", run.folder / ENSEMBLE, output, "cpu", make_console()) == 1
    table = pd.read_csv(output / "classes.csv")
    assert list(table.columns) == ["image", "file", "class", "probability", "p(dark)", "p(grey)", "p(light)"]
    assert list(table["image"]) == ["0", "1", "2"] or list(table["image"]) == [0, 1, 2]
    shares = table[["p(dark)", "p(grey)", "p(light)"]]
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert (shares.max(axis=1) == table["probability"]).all()
    assert not (output / "masks").exists()


def test_what_is_for_maps_alone_is_refused(run: Run, tmp_path: Path) -> None:
    from muster.commands.predictions.settings import PredictionSettings

    write(tmp_path, "images", "some", 1, 9)
    wanted = PredictionSettings(confidence=True)
    with pytest.raises(ConfigError, match="--confidence: the ensemble has one class for a whole image"):
        predict_folder(
            tmp_path / "images" / "some", run.folder / ENSEMBLE, tmp_path / "o", "cpu", make_console(), settings=wanted
        )


def test_one_network_is_taught_by_the_ensemble_and_averaged_of_its_members(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "more", "some", 2, 9)
    settings = TrainingSettings(steps=3, batch_size=4, crop_size=32)
    ensemble = muster.load_ensemble(run.folder / ENSEMBLE)
    made, module, unlabelled = teach(
        ensemble, run.target, "small_unet", "none", 0.5, tmp_path / "more" / "some", settings, tmp_path, Hardware("cpu")
    )
    assert unlabelled == 2
    assert made.is_pooled
    image = run.target.dataset.test[0].image
    assert made.classify(image).shape == (3,)
    fresh = Pooled(build_model("small_unet", 3, seed=settings.seed)).state_dict()
    taught = made.members[0].state_dict()
    assert any(not torch.equal(value, taught[key]) for key, value in fresh.items() if "head" in key)
    alike = Ensemble(("a", "b"), [ensemble.members[0], ensemble.members[0]], ensemble.classes, ensemble.preprocessing,
                     ensemble.task)  # fmt: skip
    soups = soups_of(alike.eval(), run.target, settings)
    torch.testing.assert_close(soups[UNIFORM][0].classify(image), alike.of_one("a", alike.models["a"]).classify(image))
    models = compare({"ensemble": ensemble, "distilled": made}, {}, run.target, seed=0)
    hits = [int(made.classify(sample.image).argmax()) == int(sample.mask) for sample in run.target.dataset.test]
    assert models["distilled"].result == pytest.approx(sum(hits) / len(hits))
    result = result_of(models, run.target, unlabelled, module, Hardware("cpu"))
    assert "top-1 accuracy and the ensemble" in headline(result)
    page = write_distillation_report(result, tmp_path / "report.html", "next").read_text("utf-8")
    assert "Top-1 accuracy on the 9 test images" in page
    assert "mIoU" not in page


def test_probe_units_are_images(selection: Selection) -> None:
    assert selection.guessing is not None
    assert torch.tensor(list(selection.member_scores.values())).isfinite().all()


def test_models_are_ranked_for_images_too(pool: Pool, target: Dataset) -> None:
    models = {"a": build_model("small_fpn", 3, seed=1), "pool": str(pool["land"].folder)}
    table = muster.rank(models, target, image_size=32, show=False)
    assert set(table.index) == {"a", "pool"}
    steps = 1 / len(target.train)
    assert (table["linear_probe"] / steps).to_numpy() == pytest.approx(
        (table["linear_probe"] / steps).round().to_numpy()
    )


def test_a_map_is_not_read_as_if_it_were_a_whole_image(target: Dataset) -> None:
    from muster.data import ImageSize, Preprocessing, channel_statistics
    from muster.probe import ProbeReader, draw_probe_set

    shown = Preprocessing(channel_statistics(target.train), ImageSize.of(32))
    reader = ProbeReader(target.train, draw_probe_set(target.train), shown)
    assert len(reader.probe) == len(target.train)
    with pytest.raises(ValueError, match="one prediction for a whole image"):
        reader.read(build_model("small_fpn", 3).eval())


def test_one_body_learns_the_classes_of_two_sources(tmp_path: Path) -> None:
    job = MemberJob(
        "both", tmp_path, "", "small_fpn", "none", replace(SOURCE, steps=4, validate_every=2), Hardware("cpu"),
        datasets=("scenes/land", "scenes/waters"),
    )  # fmt: skip
    train_multi_source(job, lambda step, loss: None)
    member = Pool.open(tmp_path)["both"]
    counts = [open_dataset(name).spec.num_classes for name in job.datasets]
    assert (member.card.task, [source.classes for source in member.card.sources]) == ("classification", counts)
    assert member.problem() is None
    model = member.load_model()
    assert isinstance(model, Pooled)
    found = model.predict(torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)))[:, :, 0, 0]
    for shares in found.split(counts, dim=1):
        torch.testing.assert_close(shares.sum(dim=1), torch.full((2,), 0.5))  # each source has the same share
    assert member.load_source_sample()["labels"].max() == sum(counts) - 1
    model.replace_head(3, seed=0)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 1, 1)


def test_losses_of_maps_are_refused(tmp_path: Path) -> None:
    dice = MemberJob(
        "dice", tmp_path, "scenes/land", "small_fpn", "none", replace(SOURCE, loss="dice"), Hardware("cpu")
    )
    with pytest.raises(ConfigError, match=r"training\.loss: expected one for classification"):
        train_member(dice, lambda step, loss: None)
