"""Members are passed over by what they make of some images, and no image is looked at twice."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from muster.commands.selection_summary import print_selection
from muster.data import Dataset, ImageSize, Preprocessing, channel_statistics
from muster.errors import ConfigError
from muster.pool import Pool
from muster.probe import ProbeReader, draw_probe_set, member_reading
from muster.probe.growing import GrowingReader, KnownReadings
from muster.report import write_selection_report
from muster.selection.guessing import honest_scores
from muster.selection.metric_inputs import member_inputs, target_inputs
from muster.selection.predictors import Predictor
from muster.selection.prefilter import image_order, rounds_of
from muster.selection.record import Selection
from muster.selection.record_parts import Prefilter, PrefilterRound
from muster.selection.run import select
from tests.helpers import make_member, make_target

OPTIONS = {"predictor": "eep", "size": 2, "resamples": 0, "cache_gb": 0.0, "pixels_per_image": 40, "metrics": ()}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    for seed, name in enumerate("abcde"):
        make_member(folder, name, seed)
    return Pool.open(folder)


@pytest.fixture(scope="module")
def target() -> Dataset:
    return make_target(9, void=("02",))


@pytest.fixture(scope="module")
def reader(target: Dataset) -> ProbeReader:
    shown = Preprocessing(channel_statistics(target.train), ImageSize.of(64))
    return ProbeReader(target.train, draw_probe_set(target.train, 40, 0), shown, "cpu", batch_size=1)


def test_rounds_double_the_images_and_halve_the_members() -> None:
    assert rounds_of(32, 2, 160) == [(10, 16), (20, 8), (40, 4), (80, 2)]
    assert rounds_of(1000, 10, 40) == [(10, 100), (20, 10)]  # not below ten images: more members fall at once
    assert rounds_of(1000, 10, 160, least=40) == [(40, 100), (80, 10)]
    assert rounds_of(6, 3, 8) == [(4, 3)]
    assert rounds_of(7, 5, 150) == [(75, 5)]
    assert rounds_of(5, 5, 150) == rounds_of(3, 5, 150) == rounds_of(9, 2, 1) == []


def test_the_looks_are_counted_by_hand() -> None:
    record = Prefilter(2, 32, 160, (PrefilterRound(10, 32), PrefilterRound(20, 16), PrefilterRound(40, 8),
                                    PrefilterRound(80, 4)))  # fmt: skip
    assert record.share == pytest.approx((32 * 10 + 16 * 10 + 8 * 20 + 4 * 40 + 2 * 80) / (32 * 160))
    assert Prefilter(5, 3, 10).share == 1.0


def test_the_first_images_have_two_of_each_class() -> None:
    shares = torch.eye(4)[torch.arange(24) % 4].double()
    probe = replace(
        draw_probe_set(make_target(3).train, 1, 0), class_shares=shares, starts=tuple(range(25)), sizes=((8, 8),) * 24
    )
    order = image_order(probe, 0)
    assert sorted(order) == list(range(24))
    for first in (8, 16, 24):
        assert torch.bincount(torch.tensor(order[:first]) % 4).tolist() == [first // 4] * 4
    assert len({tuple(image_order(probe, seed)[:8]) for seed in range(4)}) > 1


def test_a_growing_reader_reads_what_a_plain_one_does_and_no_image_twice(pool: Pool, reader: ProbeReader) -> None:
    known, member = KnownReadings(1e9), pool["a"]
    expected = member_reading(member, reader)
    looks: list[int] = []
    for images in ((4, 7), (1, 4, 7, 8), None):
        grown = member_reading(
            member, GrowingReader(reader, known, images), progress=lambda _, all_: looks.append(all_)
        )
    assert looks == [2] * 2 + [2] * 2 + [4] * 4  # batches of one image; image 2 is void
    for name in ("probabilities", "features", "image_features"):
        assert torch.allclose(getattr(grown, name), getattr(expected, name), atol=1e-5)
    assert len(grown.stages) == len(expected.stages) > 1
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(grown.stages, expected.stages, strict=True))
    some = member_reading(member, GrowingReader(reader, known, (1, 8)))  # fewer images than are known
    of_them = torch.cat([torch.arange(reader.probe.starts[i], reader.probe.starts[i + 1]) for i in (1, 8)])
    assert torch.allclose(some.features, expected.features[of_them], atol=1e-5)
    known.forget_all_but(())
    assert known.of("a", features=False, stages=False) is None
    none = KnownReadings(0.0)
    member_reading(member, GrowingReader(reader, none, (4, 7)))
    assert none.of("a", features=False, stages=False) is None


@pytest.fixture(scope="module")
def filtered(pool: Pool, target: Dataset) -> Selection:
    return select(pool, target, prefilter=3, **OPTIONS)


def test_those_with_the_best_leep_on_some_images_go_on(
    pool: Pool, target: Dataset, reader: ProbeReader, filtered: Selection
) -> None:
    some = sorted(image_order(reader.probe, 0)[:4])
    part = reader.of_images(some)
    shared = target_inputs(part.probe, len(some), None)
    predictor, leeps = Predictor("eep", target.spec.num_classes), {}
    for member in pool:
        inputs = member_inputs(member, member_reading(member, part), shared, frozenset())
        predicted = predictor.predict(inputs, member, part, None).predictions
        leeps[member.name] = honest_scores(inputs.with_prediction(predicted), predictor).leep
    best = sorted(leeps, key=lambda name: -leeps[name])
    assert set(filtered.member_scores) == set(best[:3])
    assert set(filtered.excluded) == set(best[3:])
    for place, name in enumerate(best[3:], start=4):
        told = f"passed over by the prefilter: LEEP {leeps[name]:.3f} on 4 probe images, {place} of 5"
        assert filtered.excluded[name] == told
    assert filtered.prefilter == Prefilter(3, 5, 8, (PrefilterRound(4, 5),))


def test_what_is_left_has_the_scores_that_it_has_without(pool: Pool, target: Dataset, filtered: Selection) -> None:
    plain = select(pool, target, **OPTIONS)
    assert plain.prefilter is None
    expected = {name: plain.member_scores[name] for name in filtered.member_scores}
    assert filtered.member_scores == pytest.approx(expected, abs=1e-5)
    for keep in (5, 50):
        everybody = select(pool, target, prefilter=keep, **OPTIONS)
        assert (everybody.members, everybody.prefilter) == (plain.members, Prefilter(keep, 5, 8))
    with pytest.raises(ConfigError, match="prefilter: expected at least the size of an ensemble, 2"):
        select(pool, target, prefilter=1, **OPTIONS)


def test_record_summary_and_report_say_so(pool: Pool, target: Dataset, filtered: Selection, tmp_path: Path) -> None:
    loaded = Selection.load(filtered.save(tmp_path / "chosen"))
    assert loaded.prefilter == filtered.prefilter
    printed = StringIO()
    print_selection(loaded, pool, tmp_path, Console(file=printed, width=300), chosen_size=True)
    told = "Prefilter: 3 of 5 members looked at all 8 probe images (5 at 4), which is 80 % of the looks"
    page = write_selection_report(filtered, pool, target, tmp_path / "report.html").read_text("utf-8")
    for text in (printed.getvalue(), page):
        assert told in text
        assert "passed over by the prefilter: LEEP" in text
