"""The model that RSA and DDS compare with, trained on the probe images."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import muster
from muster.data import Dataset, ImageSize, Preprocessing, Split, channel_statistics, open_dataset, prepared_images
from muster.errors import SelectionError
from muster.metrics import parse_metric, rsa
from muster.models import Blueprint
from muster.models.centre_net import CentreNet
from muster.pool import Member, Pool, TargetContent, reason_to_bar
from muster.probe import ProbeCache, ProbeReader, draw_probe_set, member_reading
from muster.selection.reference import TRAIN, find_reference, trained_from
from muster.tasks.task import choose_images, seen_spec
from muster.training.hardware import Hardware
from muster.training.reference import reference_model, starting_member, starts_afresh, steps_for, training_for
from muster.training.settings import TrainingSettings
from tests.helpers import make_member, make_target

HARDWARE = Hardware("cpu", precision="32-true", num_workers=0)
CHEAP = {"predictor": "eep", "size": 1, "resamples": 0, "image_size": 32}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Whole images of three tones."""
    root, noise = tmp_path_factory.mktemp("images") / "tones", np.random.default_rng(0)
    for split in ("train", "test"):
        for name, tone in (("dark", 60), ("grey", 110), ("light", 160)):
            (root / split / name).mkdir(parents=True)
            for number in range(5):
                pixels = noise.normal(tone, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return open_dataset(str(root))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    for seed, name in enumerate("abc"):
        make_member(folder, name, seed, architecture="small_unet" if name == "a" else "small_fpn")
    return Pool.open(folder)


def few(images: int, seed: int, loss: str) -> TrainingSettings:
    return replace(training_for(images, seed, loss), batch_size=8, steps=30, checkpoint_every=30, warmup_steps=0)


def shown(train: Split) -> Preprocessing:
    return Preprocessing(channel_statistics(train), ImageSize.of(32))


def train(
    start: Member, split: Split, cache: ProbeCache | None = None, told: list[int] | None = None
) -> torch.nn.Module:
    heard = [] if told is None else told
    note = lambda step, loss: heard.append(step)  # noqa: E731
    return reference_model(start, split, shown(split), HARDWARE, 0, cache, note, few)


def test_it_learns_the_target_and_is_kept(pool: Pool, images: Dataset, tmp_path: Path) -> None:
    start, cache, told = pool["b"].used_for(images.spec), ProbeCache(tmp_path / "cache"), list[int]()
    model = train(start, images.train, cache, told)
    assert told[-1] == 30
    probe = draw_probe_set(images.train, 1, 0)
    reader = ProbeReader(images.train, probe, shown(images.train), "cpu", precision="32-true")
    assert (reader.read(model).argmax(dim=1) == probe.labels).float().mean() > 0.8
    again = train(start, images.train, cache, told)
    assert len(told) == told.index(30) + 1  # nothing was trained
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    short = replace(images.train, identifiers=images.train.identifiers[:-1])
    train(start, short, cache, told)
    assert told[-1] == 30  # other images, another model
    assert told.count(30) == 2
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 2


def test_a_segmentation_target_trains_one_that_segments(pool: Pool) -> None:
    target = make_target(4)
    model = train(pool["a"].used_for(target.spec), target.train)
    assert model(torch.zeros(1, 3, 32, 32)).shape[1] == target.spec.num_classes
    assert not model.training


def test_the_deepest_network_is_taken_and_no_source_is_nearer(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep, wide = max(pool, key=lambda member: member.card.depth), pool["c"]
    assert starting_member(tuple(pool)).card.architecture == deep.card.architecture
    assert starting_member((pool["b"], pool["c"])) == pool["b"]
    larger = replace(wide, card=replace(wide.card, parameters=10**9))
    assert starting_member((pool["b"], larger)) == larger
    deeper = replace(wide, card=replace(wide.card, depth=10**6))
    assert starting_member((larger, deeper)) == deeper
    assert starts_afresh(pool["b"])
    adopted = replace(pool["b"], card=replace(pool["b"].card, blueprint=Blueprint("timm", "resnet18")))
    assert not starts_afresh(adopted)
    named = replace(pool["b"], card=replace(pool["b"].card, pretraining="somebody's"))
    assert not starts_afresh(named)
    by_word = replace(pool["b"], card=replace(pool["b"].card, pretraining="simclr", started_from={"sha256": "0" * 64}))
    monkeypatch.setenv("MUSTER_WEIGHTS", str(tmp_path))
    assert not starts_afresh(by_word)
    file = tmp_path / f"{by_word.card.architecture}-simclr.safetensors"
    file.write_bytes(b"weights")
    assert not starts_afresh(by_word)  # such weights, but others
    started_from = {"sha256": hashlib.sha256(b"weights").hexdigest()}
    assert starts_afresh(replace(by_word, card=replace(by_word.card, started_from=started_from)))
    target = make_target(4)
    split = replace(target.train, identifiers=target.train.identifiers[:2])
    one, other = (train(pool[name].used_for(target.spec), split).state_dict() for name in "bc")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_steps_are_passes_over_the_images() -> None:
    assert [steps_for(count) for count in (4, 150, 500, 10_000)] == [100, 375, 1000, 1000]


def test_select_trains_one_and_compares_with_it(pool: Pool, images: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="--reference train"):
        muster.select(pool, images, metrics=("rsa",), cache_gb=0.0, **CHEAP)
    folder = tmp_path / "cache"
    chosen = muster.select(pool, images, metrics=("rsa", "dds"), reference=TRAIN, cache_dir=folder, **CHEAP)
    used = tuple(member.used_for(images.spec) for member in pool)
    assert chosen.reference == f"train: {starting_member(used).card.architecture}"
    assert set(chosen.single_scores) >= {"rsa", "dds"}
    told: list[tuple[str, int, int]] = []
    reader = ProbeReader(images.train, draw_probe_set(images.train, 1, 0), shown(images.train), "cpu")
    cache = ProbeCache(folder)
    features = trained_from(used).features(reader, images.train, cache, 0, lambda *what: told.append(what))
    assert told == []  # it was in the cache
    by_hand = {m.name: rsa(member_reading(m, reader).image_features, features) for m in used}
    assert chosen.single_scores["rsa"] == pytest.approx(by_hand, abs=1e-5)
    again = muster.select(pool, images, metrics=("rsa",), reference="train", cache_dir=folder, **CHEAP)
    assert again.single_scores["rsa"] == pytest.approx(chosen.single_scores["rsa"], abs=1e-5)


def test_boxes_are_compared_with_a_network_that_finds_them(pool: Pool, tmp_path: Path) -> None:
    target, folder = open_dataset("boxes/harbour_drive"), tmp_path / "cache"
    options = {**CHEAP, "train_images": 6, "reference": TRAIN, "cache_dir": folder}
    chosen = muster.select(pool, target, metrics=("rsa", "dds"), **options)
    used, train = tuple(member.used_for(seen_spec(target.spec)) for member in pool), choose_images(target.train, 6, 0)
    shown_as, told = shown(train), list[int]()
    cache, start = ProbeCache(folder), starting_member(used)
    network = reference_model(start, train, shown_as, HARDWARE, 0, cache, lambda step, _: told.append(step))
    assert told == []  # it was in the cache
    assert isinstance(network, CentreNet)
    assert network.num_classes == 3
    (shown_images,) = prepared_images(train, shown_as)
    assert isinstance(shown_images.images, torch.Tensor)
    with torch.no_grad():
        means = network.features(shown_images.images).mean(dim=(2, 3)).double()
        ours = used[0].load_model().features(shown_images.images).mean(dim=(2, 3)).double()
    assert chosen.single_scores["rsa"][used[0].name] == pytest.approx(rsa(ours, means), abs=1e-4)


def test_one_that_does_not_fit_is_no_reference(pool: Pool, images: Dataset) -> None:
    target = make_target(4)
    classifier = replace(pool["b"].card, task="classification", blueprint=Blueprint("timm", "resnet18"))
    odd = replace(pool, members=(replace(pool["b"], card=classifier),))
    assert reason_to_bar(classifier, TargetContent(target)) is not None
    with pytest.raises(SelectionError, match="has none for"):
        find_reference(None, odd, (), target, (parse_metric("rsa"),))
