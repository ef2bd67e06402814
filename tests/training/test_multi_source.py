"""Members with one body and a head for each of several datasets, from the plan to a fine-tuned ensemble."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from muster import load_ensemble, select
from muster.data import (
    InterleavedStream,
    TrainingStream,
    channel_statistics,
    content_prefixes,
    open_dataset,
    prepare_image,
    source_of_step,
)
from muster.errors import ConfigError, PoolError
from muster.files import to_builtin_types
from muster.model_page import PAGE
from muster.models import build_model, put_source_heads, source_heads
from muster.pool import HISTORY, WEIGHTS, Member, Pool, TargetContent, reason_to_bar, verify_pool
from muster.records import parse_record
from muster.tasks.segmentation import SEGMENTATION, mean_iou
from muster.tasks.source_sample import PIXEL_IMAGES, PIXELS_PER_IMAGE
from muster.training.checkpoints import CHECKPOINT
from muster.training.finetuned_ensemble import Ensemble
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.modules import EnsembleTraining
from muster.training.multi_source import head_predictor, train_multi_source
from muster.training.multi_source_plan import EACH, MultiSource
from muster.training.plan_entries import Override
from muster.training.pool_plan import PoolPlan, plan_jobs
from muster.training.settings import SourceSettings, TrainingSettings
from muster.training.source import train_member
from muster.training.trained_member import SPLITS
from tests.helpers import confusion_matrices, make_target, shown

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint"),
]

SETTINGS = SourceSettings(steps=5, batch_size=2, crop_size=32, image_size=32, seed=3, learning_rate=0.02)
ATTIC = "worlds/attic"


def make_job(pool: Path, *datasets: str, settings: SourceSettings = SETTINGS) -> MemberJob:
    return MemberJob("both", pool, "", "small_fpn", "none", settings, Hardware("cpu"), datasets=datasets)


@pytest.fixture(scope="module")
def namesake(tmp_path_factory: pytest.TempPathFactory, dataset_folder: Path) -> str:
    """The same images as another dataset, where only the numbers matter."""
    folder = tmp_path_factory.mktemp("namesake") / "other"
    shutil.copytree(dataset_folder, folder)
    description = folder / "dataset.yaml"
    description.write_text(description.read_text("utf-8").replace("name: tiny", "name: other"), "utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset_folder: Path) -> Member:
    pool = tmp_path_factory.mktemp("pool")
    settings = replace(SETTINGS, train_images=5, steps=22)
    with pytest.warns(UserWarning, match="is not empty"):
        train_multi_source(make_job(pool, str(dataset_folder), ATTIC, settings=settings), lambda step, loss: None)
    return Pool.open(pool)["both"]


class TestHeads:
    def test_each_has_the_same_share_and_its_own_softmax(self) -> None:
        model = build_model("small_fpn", 1, seed=4).eval()
        heads = put_source_heads(model, [3, 6, 1], seed=4)
        with torch.no_grad():
            heads.heads[1].weight *= 30.0  # sure of itself
            heads.heads[0].bias += 4.0  # a constant that no softmax sees
        images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        found = model.predict(images)
        assert found.shape == (2, 10, 16, 24)
        assert torch.allclose(found.sum(dim=1), torch.ones(2, 16, 24), atol=1e-6)
        with torch.no_grad():
            features = model.features(images).double()
            for head, part in zip(heads.heads, found.split([3, 6, 1], dim=1), strict=True):
                plain = torch.nn.functional.conv2d(features, head.weight.double(), head.bias.double()).softmax(dim=1)
                assert torch.allclose(part.double(), plain / 3, atol=1e-6)

    def test_one_new_head_takes_their_place(self) -> None:
        model = build_model("small_fpn", 1)
        model.adapt_channels(4)
        put_source_heads(model, [2, 3], seed=0)
        assert (model.num_classes, model.blueprint.config) == (5, {"channels": 4, "heads": [2, 3]})
        assert model.num_parameters == sum(parameter.numel() for parameter in model.parameters())
        model.replace_head(7, seed=1)
        assert (model.num_classes, model.blueprint.config) == (7, {"channels": 4})
        with pytest.raises(TypeError, match="a single one"):
            source_heads(model)
        with pytest.raises(ConfigError, match="each positive"):
            put_source_heads(model, [2, 0], seed=0)


def test_batches_come_from_each_dataset_in_turn_and_each_goes_on_where_it_ended() -> None:
    splits = [make_target(count, name=f"of {count}").train for count in (5, 3)]
    draws = [lambda image, mask, generator, place=place: (torch.tensor(place), image) for place in range(2)]
    stream = InterleavedStream(splits, draws, steps=5, batch_size=2, seed=7)
    assert len(stream) == 10
    alone = [
        TrainingStream(split, draw, 3, 2, 7 + place)
        for place, (split, draw) in enumerate(zip(splits, draws, strict=True))
    ]
    for step in range(5):
        source = source_of_step(step, 2)
        assert source == step % 2
        for place in range(2):
            example, expected = stream[2 * step + place], alone[source][2 * (step // 2) + place]
            assert int(example[0]) == source
            assert torch.equal(example[1], expected[1])
    with pytest.raises(IndexError):
        stream[10]


class TestMember:
    def test_card_says_all_of_every_source(self, trained: Member, dataset_folder: Path) -> None:
        card, tiny, attic = trained.card, open_dataset(str(dataset_folder)), open_dataset(ATTIC)
        trains = [dataset.train.subset(5, 3) for dataset in (tiny, attic)]
        assert (card.dataset, card.domain, card.seen_datasets) == ("tiny + attic", "several domains", ("tiny", "attic"))
        assert card.classes == (
            "tiny/ground", "tiny/wall", "tiny/sky", "attic/wall", "attic/ceiling", "attic/floor", "attic/window",
            "attic/bed", "attic/furniture",
        )  # fmt: skip
        assert [card.classes_of(name) for name in ("tiny", "attic", "reef")] == [
            tiny.spec.classes, attic.spec.classes, ()
        ]  # fmt: skip
        assert [(sketch.dataset, sketch.prefixes.split()) for sketch in card.seen] == [
            (train.spec.name, sorted(content_prefixes(train))) for train in trains
        ]
        assert (card.train_images, card.test_images, len(card.test_ious)) == (10, 62, 9)
        first, second = card.sources
        assert (first.dataset, first.domain, first.classes, first.train_images, first.test_images, first.licence) == (
            "tiny", "made up", 3, 5, 2, "ours"
        )  # fmt: skip
        assert (second.dataset, second.domain, second.licence) == ("attic", "indoor", "Apache-2.0")
        for record, train in zip(card.sources, trains, strict=True):
            statistics = channel_statistics(train)
            assert (record.mean, record.std) == (statistics.mean, statistics.std)
        assert card.mean[0] == pytest.approx((first.mean[0] + second.mean[0]) / 2)
        assert card.std[0] > min(first.std[0], second.std[0])
        assert card.test_result == pytest.approx((first.test_result + second.test_result) / 2)
        assert trained.problem() is None
        verified = verify_pool(trained.folder.parents[1])
        assert (verified.sound, verified.problems) == (1, ())

    def test_results_are_those_of_the_weights(self, trained: Member, dataset_folder: Path) -> None:
        model = trained.load_model()
        for place, reference in enumerate((str(dataset_folder), ATTIC)):
            dataset = open_dataset(reference)
            statistics = channel_statistics(dataset.train.subset(5, 3))
            found = confusion_matrices(head_predictor(model, place, SEGMENTATION), dataset.test, shown(statistics, 32))[
                "prediction"
            ]
            assert trained.card.sources[place].test_result == pytest.approx(mean_iou(found), abs=1e-6)
        image = prepare_image(torch.zeros(3, 32, 32, dtype=torch.uint8), shown(statistics, 32))[None]
        probabilities = model.predict(image)
        assert torch.allclose(probabilities.sum(dim=1), torch.ones(()), atol=1e-6)
        assert torch.allclose(probabilities[:, :3].sum(dim=1), torch.tensor(0.5), atol=1e-6)

    def test_it_is_no_candidate_for_any_of_its_sources(self, trained: Member, dataset_folder: Path) -> None:
        for reference in (str(dataset_folder), ATTIC):
            dataset = open_dataset(reference)
            told = reason_to_bar(trained.card, TargetContent(dataset))
            assert told == f"was trained on the target, {dataset.spec.name}"
            # Under another name it is the content that tells, and with few of many images the label space.
            renamed = replace(dataset.spec, name="renamed")
            parts = {
                name: replace(getattr(dataset, name), spec=renamed) for name in ("train", "test")
            }  # fmt: skip
            other = reason_to_bar(trained.card, TargetContent(replace(dataset, spec=renamed, **parts)))
            assert other is not None
            assert "under the name" in other
        assert reason_to_bar(trained.card, TargetContent(open_dataset("worlds/reef"))) is None

    def test_page_names_every_source_and_its_terms(self, trained: Member) -> None:
        text = (trained.folder / PAGE).read_text("utf-8")
        assert "on 2 datasets, with a head for each: tiny + attic" in text
        assert "| data of tiny | ours |" in text
        assert "| data of attic | Apache-2.0 |" in text
        assert "which others trained" not in text
        metadata = yaml.safe_load(text.split("---")[1])
        assert metadata["datasets"] == ["tiny", "attic"]
        assert [result["dataset"]["name"] for result in metadata["model-index"][0]["results"]] == ["tiny", "attic"]

    def test_history_has_a_curve_for_each_source(self, trained: Member) -> None:
        history = pd.read_csv(trained.folder / HISTORY)
        assert list(history) == ["step", "loss/both/tiny", "loss/both/attic"]
        steps = {name: list(history["step"][history[f"loss/both/{name}"].notna()]) for name in ("tiny", "attic")}
        assert steps == {"tiny": [0, 20], "attic": [1, 21]}  # whole rounds

    def test_images_are_written_down_by_source(self, trained: Member) -> None:
        images = yaml.safe_load((trained.folder.parents[1] / SPLITS / "both.yaml").read_text("utf-8"))
        assert {name: {key: len(names) for key, names in parts.items()} for name, parts in images.items()} == {
            "tiny": {"train": 5, "validation": 0, "test": 2}, "attic": {"train": 5, "validation": 0, "test": 60}
        }  # fmt: skip

    def test_source_sample_is_of_all_sources_alike(self, trained: Member, dataset_folder: Path) -> None:
        sample, model = trained.load_source_sample(), trained.load_model()
        assert PIXEL_IMAGES >= 10
        assert len(sample["labels"]) == 10 * PIXELS_PER_IMAGE
        tiny, attic = sample["labels"].split(5 * PIXELS_PER_IMAGE)
        assert 0 <= int(tiny.min()) <= int(tiny.max()) < 3 <= int(attic.min()) <= int(attic.max()) < 9
        means = []
        for reference in (str(dataset_folder), ATTIC):
            train = open_dataset(reference).train.subset(5, 3)
            statistics = channel_statistics(train)
            stages = [
                torch.nn.functional.normalize(
                    model.features_and_embeddings(prepare_image(each.image, shown(statistics, 32))[None])[1][0], dim=1
                )
                for each in train
            ]
            means.append(torch.cat(stages).mean(dim=0))
        assert torch.allclose(sample["stage_0"], torch.stack(means).mean(dim=0).detach(), atol=1e-5)


def weights_of(pool: Path) -> dict[str, torch.Tensor]:
    return load_file(Pool.open(pool).members[0].folder / WEIGHTS)


def test_a_single_source_gives_the_weights_of_the_usual_member(tmp_path: Path, dataset_folder: Path) -> None:
    settings = replace(SETTINGS, class_weighting="sqrt", clip_norm=1.0, validation_fraction=0.3, validate_every=2)
    usual = MemberJob("both", tmp_path / "usual", str(dataset_folder), "small_fpn", "none", settings, Hardware("cpu"))
    train_member(usual, lambda step, loss: None)
    train_multi_source(make_job(tmp_path / "multi", str(dataset_folder), settings=settings), lambda step, loss: None)
    alone, multi = weights_of(tmp_path / "usual"), weights_of(tmp_path / "multi")
    assert all(torch.equal(value, multi[name.replace("head.", "head.heads.0.")]) for name, value in alone.items())
    cards = [Pool.open(tmp_path / name).members[0].card for name in ("usual", "multi")]
    assert cards[0].test_result == cards[1].test_result
    assert cards[0].contents == cards[1].contents
    curves = [pd.read_csv(tmp_path / name / "members" / "both" / HISTORY) for name in ("usual", "multi")]
    assert list(curves[0]["miou/both"].dropna()) == list(curves[1]["miou/both/tiny"].dropna())


class _KilledError(Exception):
    pass


def test_two_interrupted_parts_give_the_weights_of_one_run(tmp_path: Path, dataset_folder: Path, namesake: str) -> None:
    settings = replace(SETTINGS, checkpoint_every=1, steps=6, ema_decay=0.9, validation_fraction=0.3, validate_every=3)
    job = make_job(tmp_path / "whole", str(dataset_folder), namesake, settings=settings)
    train_multi_source(job, lambda step, loss: None)
    parts = replace(job, pool=tmp_path / "parts")

    def kill(step: int, loss: float) -> None:
        if (parts.work / CHECKPOINT).is_file():
            raise _KilledError
        time.sleep(1.05)  # it is told at most once a second

    with pytest.raises(_KilledError):
        train_multi_source(parts, kill)
    train_multi_source(parts, lambda step, loss: None)
    whole, resumed = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    history = pd.read_csv(job.folder / HISTORY)
    assert history.equals(pd.read_csv(parts.folder / HISTORY))
    means = history[["miou/both/tiny", "miou/both/other"]].mean(axis=1).dropna()
    assert list(means) == pytest.approx(list(history["miou/both"].dropna()))
    assert len(means) == 2


def test_a_head_is_trained_by_its_own_steps_alone(tmp_path: Path, dataset_folder: Path, namesake: str) -> None:
    """After one step the second head is as it began, weight decay or not."""
    settings = replace(SETTINGS, steps=1, weight_decay=0.1)
    train_multi_source(make_job(tmp_path, str(dataset_folder), namesake, settings=settings), lambda step, loss: None)
    heads = put_source_heads(build_model("small_fpn", 1, seed=3), [3, 3], seed=3)
    found = weights_of(tmp_path)
    assert torch.equal(found["head.heads.1.weight"], heads.heads[1].weight)
    assert not torch.equal(found["head.heads.0.weight"], heads.heads[0].weight)


@pytest.mark.parametrize("predictor", ["eep", "linear_probe"])
def test_every_kind_of_metric_scores_it(trained: Member, predictor: str) -> None:
    metrics = ("nce", "logme", "otce", "leep+haste_ca", "leep+haste_cs", "base", "osborn")
    options = {"size": 1, "cache_gb": 0.0, "device": "cpu", "resamples": 0, "image_size": 48, "pixels_per_image": 50}
    pool = trained.folder.parents[1]
    found = select(pool, make_target(4, name="new"), predictor=predictor, metrics=metrics, **options)
    assert (found.members, found.dropped) == (("both",), {})
    assert {name for name, scores in found.single_scores.items() if "both" in scores} >= set(metrics[:6])


def test_it_is_fine_tuned_with_one_new_head(trained: Member, tmp_path: Path) -> None:
    target, model = make_target(4, name="new"), trained.load_model()
    settings = TrainingSettings(steps=1, batch_size=2, crop_size=32)
    module = EnsembleTraining(settings, 3)
    module.set_members(("both",), (model,))
    fit(module, FitData(target.train, shown(target.train, 48), settings), tmp_path / "work", Hardware("cpu"))
    made = Ensemble(("both",), (model,), target.spec.classes, shown(target.train, 48)).eval()
    made.save(tmp_path / "ensemble", "new", {})
    opened = load_ensemble(tmp_path / "ensemble")
    (again,) = opened.models.values()
    assert (again.num_classes, again.blueprint.config) == (3, {})
    assert [name for name in again.state_dict() if name.startswith("head")] == ["head.weight", "head.bias"]
    image = target.test[0].image
    assert torch.equal(opened.predict(image), made.predict(image))


def test_a_job_reaches_a_worker_as_it_is(tmp_path: Path) -> None:
    job = make_job(tmp_path, "worlds/reef", "worlds/delta")
    told = json.loads(json.dumps(to_builtin_types(asdict(job))))
    assert parse_record(told, MemberJob, "job", PoolError) == job


def plan(entry: MultiSource, **changes: object) -> list[MemberJob]:
    parts = {"datasets": ["worlds/attic", "worlds/reef", "worlds/delta"], "multi_source": [entry], **changes}
    return plan_jobs(PoolPlan(**parts), SETTINGS, Path("pool"), Hardware("cpu"))  # type: ignore[arg-type]


class TestPlan:
    def test_all_but_one_or_each(self) -> None:
        (job,) = plan(MultiSource("small_fpn", all_but="reef"))
        assert (job.name, job.dataset, job.datasets) == (
            "all_but_reef-small_fpn", "", ("worlds/attic", "worlds/delta")
        )  # fmt: skip
        jobs = plan(MultiSource("small_fpn", all_but=EACH), architectures=["small_unet"])
        assert [each.name for each in jobs[3:]] == [f"all_but_{name}-small_fpn" for name in ("attic", "reef", "delta")]
        assert jobs[0].dataset == "worlds/attic"
        assert "datasets" not in jobs[0].recipe
        assert jobs[4].recipe["datasets"] == ["worlds/attic", "worlds/delta"]

    def test_datasets_of_its_own_and_overrides(self) -> None:
        entry = MultiSource("small_fpn", datasets=["worlds/office", "worlds/reef"], name="two")
        (job,) = plan(entry, datasets=[], overrides=[Override("two", train_images=7)])
        assert (job.name, job.datasets, job.settings.train_images) == ("two", ("worlds/office", "worlds/reef"), 7)
        (job,) = plan(MultiSource("small_fpn"))
        assert (job.name, len(job.datasets)) == ("all-small_fpn", 3)

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"all_but": "reaf"}, "Did you mean 'reef'"),
            ({"all_but": "each", "name": "one"}, "several members, which cannot all have the name 'one'"),
            ({"datasets": ["worlds/reef"]}, "expected a name"),
            ({"datasets": ["worlds/reef"], "all_but": "reef"}, "at least 2 datasets, but got 1"),
            ({"datasets": ["worlds/reef"] * 2, "name": "a"}, "more than one is called reef"),
            ({"name": "a/b"}, "does not serve as the name of a folder"),
            ({"weights": Path("a.safetensors")}, "^plan: 'small_fpn' starts from weights"),
        ],
    )
    def test_what_cannot_work_is_refused_at_the_door(self, entry: dict[str, object], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            plan(MultiSource("small_fpn", **entry))  # type: ignore[arg-type]

    def test_nothing_is_chosen_for_it(self) -> None:
        with pytest.raises(ConfigError, match="expected one learning rate"):
            plan(MultiSource("small_fpn"), overrides=[Override("all-*", learning_rates=[0.1, 0.2])])
