"""Members that want their images otherwise than the target is shown, from the probe to the fine-tuned ensemble."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from muster.data import (
    ChannelStatistics,
    CropViews,
    Dataset,
    ImageSize,
    Preprocessing,
    Sample,
    TrainingTransform,
    normalise_crops,
    view_for,
)
from muster.files import to_builtin_types
from muster.pool import Member, Pool, write_member
from muster.probe import ProbeReader, draw_probe_set
from muster.probe.members import member_key
from muster.report.finetuned_images import finetuned_images
from muster.report.images import selection_images
from muster.selection.record import Selection, SelectionRecord
from muster.selection.run import select
from muster.tasks.segmentation import SEGMENTATION
from muster.training.evaluation import count_split, model_predictor
from muster.training.finetuned_ensemble import load_ensemble
from muster.training.finetuning import build_ensemble, evaluate, fit_members, load_members
from muster.training.fit_data import FitData
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.results import LEARNED_HEAD
from muster.training.settings import HeadSettings, TrainingSettings
from muster.training.summary import summarise, write_results
from muster.training.target_data import TargetData, target_data
from tests.helpers import make_member, shown

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

STATISTICS = ChannelStatistics((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))

OWN = Preprocessing(STATISTICS, ImageSize(exact=(64, 96)), "bgr", "bicubic")

NAMES = ("native", "odd", "plain")

SETTINGS = TrainingSettings(steps=2, batch_size=2, crop_size=32, seed=1, checkpoint_every=2)


def seen_by_the_odd_one(image: Tensor) -> Tensor:
    resized = functional.interpolate(image[None].float(), (64, 96), mode="bicubic", antialias=True)[0].clamp(0, 255)
    scaled = [(resized[k] / 255 - STATISTICS.mean[k]) / STATISTICS.std[k] for k in (2, 1, 0)]
    return torch.stack(scaled)[None]


def with_own(member: Member, own: Preprocessing) -> Member:
    sample = member.load_source_sample()
    return write_member(member.folder, member.load_model(), replace(member.card, preprocessing=own), sample)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("mixed")
    for seed, name in enumerate(NAMES):
        member = make_member(folder, name, seed)
        if name == "odd":
            with_own(member, OWN)
    return Pool.open(folder)


@pytest.fixture(scope="module")
def selection(pool: Pool, target: Dataset) -> Selection:
    return select(pool, target, size=2, pixels_per_image=40, cache_gb=0.0)


class Run:
    """A fine-tuning of all three, the first two of which are the ensemble."""

    def __init__(self, folder: Path, pool: Pool, selection: Selection, target: Dataset) -> None:
        hardware = Hardware("cpu")
        self.target = target_data(selection, target)
        self.module = EnsembleTraining(SETTINGS, target.spec.num_classes)
        self.module.set_members(NAMES, load_members(pool, NAMES))
        fit_members(self.module, self.target, folder, hardware)
        head = HeadSettings("sgd", steps=2, batch_size=2)
        self.ensemble = build_ensemble(self.module, NAMES[:2], self.target, hardware, head, folder)
        self.counts = evaluate(self.module, self.ensemble, self.target, hardware)
        self.result = summarise(selection, {}, self.module, self.ensemble, self.counts, self.target, hardware, 1.0)
        write_results(folder, self.result, self.module, self.ensemble)
        self.folder = folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pool: Pool, selection: Selection, target: Dataset) -> Run:
    some = replace(selection, single_best="plain")
    return Run(tmp_path_factory.mktemp("run"), pool, some, target)


class TestProbe:
    def test_reads_each_from_the_stored_image(self, pool: Pool, target: Dataset) -> None:
        probe = draw_probe_set(target.train, 20)
        reader = ProbeReader(target.train, probe, shown(target.train, 64))
        alone = ProbeReader(target.train, probe, shown(target.train, 64))
        native = reader.read(pool["native"].load_model())
        model = pool["odd"].load_model()
        found = reader.read_all(model).probabilities
        assert torch.equal(reader.read(pool["native"].load_model()), native)
        assert torch.equal(alone.read(pool["native"].load_model()), native)
        for place in probe.images:
            image, pixels = target.train[place].image, probe.pixels_of(place)
            maps = functional.interpolate(
                model.predict(seen_by_the_odd_one(image)).double(), probe.sizes[place], mode="bilinear"
            )[0]
            expected = maps[:, probe.rows[pixels], probe.columns[pixels]].T
            assert torch.allclose(found[pixels].double(), expected, atol=1e-5)

    def test_prepared_images_are_shared_by_those_that_want_them_alike(self, target: Dataset) -> None:
        reader = ProbeReader(target.train, draw_probe_set(target.train, 5), shown(target.train, 64))
        same = replace(reader.preprocessing, size=None)
        assert reader.prepared_for(None) is reader.prepared_for(same)
        assert reader.prepared_for(None) is not reader.prepared_for(OWN)

    def test_the_key_tells_how_a_member_saw(self, pool: Pool, target: Dataset) -> None:
        reader = ProbeReader(target.train, draw_probe_set(target.train, 5), shown(target.train, 64))
        member = pool["odd"]
        other = replace(member, card=replace(member.card, preprocessing=None))
        assert member_key(member, reader) != member_key(other, reader)


class TestSelection:
    def test_records_who_saw_otherwise(self, selection: Selection) -> None:
        assert selection.preprocessings == {"odd": OWN}
        content = to_builtin_types(selection.to_mapping())
        assert SelectionRecord.from_mapping(content, "here").preprocessings == {"odd": OWN}

    def test_report_images_show_each_in_its_own_way(self, selection: Selection, pool: Pool, target: Dataset) -> None:
        images = selection_images(selection, pool, target, count=1)
        assert set(images[0].predictions) == {*selection.members, "ensemble"}


class TestCrops:
    @pytest.mark.parametrize(
        ("own", "size", "scale"),
        [
            (replace(OWN, size=None), (64, 64), 1.0),
            (OWN, (64, 96), 1.5),
            (replace(OWN, size=ImageSize(128)), (128, 128), 2.0),
            (replace(OWN, size=ImageSize(shorter=64)), (128, 128), 2.0),
            (replace(OWN, size=ImageSize(32)), (32, 32), 1.0),
        ],
    )
    def test_are_drawn_at_the_largest_scale(self, own: Preprocessing, size: tuple[int, int], scale: float) -> None:
        crops = CropViews(shown(STATISTICS, 64), (None, own), (64, 64), lambda: (100, 200))
        assert (crops.size_for(own), crops.scale) == (size, scale)
        assert crops.transform((1.0, 1.0)).crop_shape == (64 * scale, 64 * scale)
        assert CropViews(crops.shown, (own,), (64, 64), lambda: (100, 200)).scale == max(size) / 64

    def test_each_sees_the_same_place(self) -> None:
        native = shown(STATISTICS, 64)
        crops = CropViews(native, (None, OWN), (32, 32), lambda: (64, 64))
        image = torch.randint(0, 256, (3, 70, 90), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        mask = torch.zeros(70, 90, dtype=torch.uint8)
        drawn = crops.transform((1.0, 1.0)).draw(image, mask, _generator())
        views = crops.views(drawn.image[None], drawn.box[None])
        assert view_for(views, None).shape == (1, 3, 32, 32)
        whole = normalise_crops(drawn.image[None], drawn.box[None], OWN)
        expected = functional.interpolate(whole, (64, 96), mode="bicubic", antialias=True)
        assert torch.allclose(view_for(views, OWN), expected, atol=1e-5)

    def test_without_own_ones_nothing_changes(self) -> None:
        native, image = shown(STATISTICS, 64), torch.arange(3 * 50 * 60).reshape(3, 50, 60).to(torch.uint8)
        mask = (image[0] // 100).to(torch.uint8)
        transform = TrainingTransform(native, 32, (0.7, 1.5))
        drawn = CropViews(native, (None, None), (32, 32), lambda: (1, 1)).transform((0.7, 1.5))
        one, other = (each.draw(image, mask, _generator()) for each in (transform, drawn))
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


class TestCropsOfAFit:
    def test_the_image_that_their_scale_rests_on_is_read_once(self, target: Dataset) -> None:
        read: list[str] = []

        def reading(identifier: str) -> Sample:
            read.append(identifier)
            return target.train.read(identifier)

        data = FitData(replace(target.train, read=reading), shown(target.train, 64), SETTINGS)
        sizes = {data._crops().stored_size() for _ in range(3)}
        assert sizes == {tuple(target.train[0].image.shape[1:])}
        assert read == [target.train.identifiers[0]]


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


class TestFinetuning:
    def test_native_members_learn_as_alone_where_the_scale_is_theirs(
        self, pool: Pool, target: Dataset, tmp_path: Path
    ) -> None:
        data = TargetData(target, target.train, shown(target.train, 64))
        trained = {}
        for names in (("native",), ("native", "odd")):
            models = load_members(pool, names)
            if "odd" in names:
                models[1].preprocessing = replace(OWN, size=None)
            module = EnsembleTraining(SETTINGS, 3)
            module.set_members(names, models)
            fit_members(module, data, tmp_path / "-".join(names), Hardware("cpu"))
            trained[names] = module.models["native"].state_dict()
        one, other = trained.values()
        assert all(torch.equal(one[name], other[name]) for name in one)

    def test_evaluation_is_image_by_image_in_its_own_way(self, run: Run, target: Dataset) -> None:
        model, correct = run.module.models["odd"], 0
        for sample in target.test:
            maps = model.predict(seen_by_the_odd_one(sample.image))
            size = (sample.mask.shape[0], sample.mask.shape[1])
            labels = functional.interpolate(maps, size, mode="bilinear")[0].argmax(dim=0)
            correct += int((labels == sample.mask).sum())
        assert abs(int(run.counts["odd"].confusion.trace()) - correct) <= 2
        owns = [OWN]
        again = count_split(model_predictor(model, SEGMENTATION), target.test, run.target.preprocessing, owns=owns)[
            "prediction"
        ]
        assert torch.equal(again.confusion, run.counts["odd"].confusion)

    def test_the_ensemble_predicts_what_was_evaluated_also_from_disk(self, run: Run, target: Dataset) -> None:
        opened = load_ensemble(run.folder)
        assert opened.owns == run.ensemble.owns == (None, OWN)
        correct = 0
        for sample in target.test:
            labels = opened.predict(sample.image)
            assert torch.equal(labels, run.ensemble.predict(sample.image))
            correct += int((labels == sample.mask).sum())
        assert abs(int(run.counts[LEARNED_HEAD].confusion.trace()) - correct) <= 4

    def test_what_it_costs_is_said_at_each_ones_size(self, run: Run) -> None:
        assert "64 x 96" in run.result.cost_measured

    def test_report_images_show_each_in_its_own_way(self, run: Run) -> None:
        (image,) = finetuned_images(run.ensemble, run.target, count=1)
        assert set(image.predictions) == {"native", "odd", "ensemble"}

    def test_images_that_were_not_prepared_for_a_member_are_refused(self, run: Run) -> None:
        with pytest.raises(ValueError, match="prepared for"):
            run.ensemble.member_maps(torch.zeros(1, 3, 64, 64))
