"""muster.rank: single models in one call, with the same scores as a selection has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import muster
from muster.commands.main import main
from muster.data import Dataset, open_dataset
from muster.data.pairs import dataset_of_pairs
from muster.errors import ConfigError, DatasetError, PoolError
from muster.pool import Pool
from tests.helpers import make_member, make_pool, make_target
from tests.models import makers
from tests.odd_inputs.bench import write_dataset

PROBE = {"pixels_per_image": 60, "seed": 1, "device": "cpu", "image_size": 64}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 3)


@pytest.fixture(scope="module")
def target() -> Dataset:
    return make_target(6)


def test_scores_are_those_of_a_selection(pool: Pool, target: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    table = muster.rank(pool.folder, target, **PROBE)
    printed = capsys.readouterr().out
    common = PROBE | {"size": 1, "cache_gb": 0.0, "resamples": 0, "metrics": ("leep", "logme", "parc")}
    selection = muster.select(pool, target, predictor="eep", **common)
    for metric in ("leep", "logme", "parc"):
        expected = [selection.single_scores[metric][name] for name in table.index]
        assert table[metric].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert selection.member_scores == pytest.approx(dict(table["leep"]), abs=1e-6)
    assert table["linear_probe"].is_monotonic_decreasing
    assert table["parameters"].to_dict() == {member.name: member.card.parameters for member in pool}
    assert (table["milliseconds"] > 0).all()
    assert ((table["low"] <= table["linear_probe"]) & (table["linear_probe"] <= table["high"])).all()
    assert table["best"].sum() == pytest.approx(1)
    assert all(name in printed for name in ("a", "b", "c", "linear_probe", "leep", "logme", "parc"))


def test_the_first_metric_decides_and_others_may_be_wrapped(pool: Pool, target: Dataset) -> None:
    table = muster.rank(list(pool), target, ["nce", "logme+pca4"], show=False, **PROBE)
    assert list(table.columns) == ["nce", "logme+pca4", "parameters", "milliseconds", "note"]
    assert table["nce"].is_monotonic_decreasing


def test_members_are_adapted_to_images_of_more_channels(pool: Pool) -> None:
    target = make_target(3, channels=4)
    table = muster.rank(pool["a"], target, ["leep"], show=False, **PROBE)
    selection = muster.select(pool, target, predictor="eep", **PROBE | {"size": 1, "cache_gb": 0.0, "resamples": 0})
    assert table.loc["a", "leep"] == pytest.approx(selection.member_scores["a"], abs=1e-6)


class Network(nn.Module):
    """A network of a user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.classifier = nn.Conv2d(8, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classifier(self.body(images))
        return scores


def test_modules_folders_and_names_stand_side_by_side(pool: Pool, target: Dataset) -> None:
    torch.manual_seed(0)
    network = Network()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    folder = pool.folder / "members" / "a"
    models = {"mine": network, "from the pool": folder, "its network": pool["a"].load_model()}
    table = muster.rank(models, target, show=False, **PROBE)
    assert set(table.index) == {"mine", "from the pool", "its network"}
    same = table.loc[["from the pool", "its network"], ["linear_probe", "leep", "logme", "parc"]].to_numpy()
    assert same[0] == pytest.approx(same[1], abs=1e-6)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    own = {"model": network, "classes": list("wxyz"), "mean": [0.5] * 3, "std": [0.2] * 3}
    twice = muster.rank([own, own], target, show=False, **PROBE)
    assert set(twice.index) == {"Network", "Network-2"}


def test_a_folder_needs_no_more_than_its_network(
    target: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What save_pretrained leaves out is numbered or taken from the target, and told."""
    network = makers.save_smp_fpn(tmp_path / "fpn")
    said = {"from": "smp", "model": str(tmp_path / "fpn"), "mean": [0.5] * 3, "std": [0.2] * 3}
    models = {"folder": tmp_path / "fpn", "module": network, "said": said}
    table = muster.rank(models, target, **PROBE)
    assert list(table.columns[:5]) == ["linear_probe", "low", "high", "best", "leep"]
    same = table.loc[["folder", "module"], ["linear_probe", "leep", "logme", "parc"]].to_numpy()
    assert same[0] == pytest.approx(same[1], abs=1e-6)
    assert sorted(table.attrs["normalised_as_target"]) == ["folder", "module"]
    assert "Not known of folder, module: mean and std" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(ConfigError, match="models, 'fpn': mean and std are not known"):
        muster.rank({"from": "smp", "model": str(tmp_path / "fpn"), "image_size": 64}, target, **PROBE)


class Particular(Network):
    """One that takes a single image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 1:
            raise RuntimeError("not these")
        return super().forward(images)


def test_a_network_that_fails_is_named(target: Dataset) -> None:
    with pytest.raises(PoolError, match="Member 'odd' cannot be run on the target's images: not these"):
        muster.rank({"odd": Particular()}, target, show=False, **PROBE)


def test_pairs_give_what_their_folder_gives(pool: Pool, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "tiny", images=4)
    expected = muster.rank(pool.folder, str(folder), show=False, **PROBE)
    places = [(folder / "train/images" / f"{i}.png", folder / "train/masks" / f"{i}.png") for i in range(4)]
    opened = [(Image.open(image), np.asarray(Image.open(mask))) for image, mask in places]
    arrays = [(np.asarray(image), torch.from_numpy(mask.copy())) for image, mask in opened]
    for pairs in (places, opened, arrays):
        found = muster.rank(pool.folder, pairs, show=False, **PROBE)
        scores = ["linear_probe", "leep", "logme", "parc", "low", "high", "best"]
        assert found.index.tolist() == expected.index.tolist()
        assert found[scores].to_numpy() == pytest.approx(expected[scores].to_numpy(), abs=1e-9)
    dataset = dataset_of_pairs(arrays, ["ground", "wall", "sky"])
    stored = open_dataset(str(folder))
    for one, other in zip(dataset.train, stored.train, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.mask, other.mask)


def test_the_command_gives_what_the_call_gives(pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, table = write_dataset(tmp_path / "tiny", images=4), tmp_path / "made" / "ranking.csv"
    options = [word for name, value in PROBE.items() for word in (f"--{name}", str(value))]
    words = ["rank", str(folder), "--models", f"[{pool.folder}]", "--by", "[leep, parc]", *options]
    assert main([*words, "--table", str(table)]) == 0
    assert "Models for tiny, the best first" in capsys.readouterr().out
    expected = muster.rank(pool.folder, str(folder), ["leep", "parc"], show=False, **PROBE)
    found = pd.read_csv(table, index_col="model")
    assert found.index.tolist() == expected.index.tolist()
    assert found["leep"].to_numpy() == pytest.approx(expected["leep"].to_numpy(), rel=1e-5)
    assert main([*words, "--memory_gb", "2"]) == 2
    assert "on a ranking of single models" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_saw_the_dataset_says_so_and_one_without_numbers_is_left_out(
    target: Dataset, tmp_path: Path
) -> None:
    make_member(tmp_path, "knows", 0, trained_on=target)
    make_member(tmp_path, "other", 1)
    make_member(tmp_path, "spoilt", 2, broken=True)
    with pytest.warns(UserWarning, match="'spoilt' is left out"):
        table = muster.rank(tmp_path, target, show=False, **PROBE)
    assert set(table.index) == {"knows", "other"}
    assert table.loc["knows", "note"]
    assert not table.loc["other", "note"]
    assert list(table.attrs["left_out"]) == ["spoilt"]
    with (
        pytest.warns(UserWarning, match="'spoilt' is left out"),
        pytest.raises(ConfigError, match=r"models: none of them can be ranked for tiny\. spoilt: its predictions"),
    ):
        muster.rank(tmp_path / "members" / "spoilt", target, show=False, **PROBE)


def test_what_cannot_be_ranked_is_told(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'soft_iou_eep' is a metric of ensembles"):
        muster.rank(pool.folder, target, ["soft_iou_eep"])
    with pytest.raises(ConfigError, match="siez: no option of muster"):
        muster.rank(pool.folder, target, siez=3)
    with pytest.raises(ConfigError, match="there is no folder"):
        muster.rank(tmp_path / "nothing", target)
    with pytest.raises(ConfigError, match="expected at least one model"):
        muster.rank([], target)
    image, mask = np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.uint8)
    with pytest.raises(ConfigError, match="at least 2 images"):
        muster.rank(pool.folder, [(image, mask)], **PROBE)
    for pairs, told in (
        ([], "at least one pair"),
        ([(image,)], "Expected pairs of an image and its mask"),
        ([(image, mask[:20])], "Pair 0: the image has 40 x 50 pixels"),
        ([(image[None], mask)], "Pair 0: expected an image"),
        ([(image, mask / 2)], "Pair 0: expected a mask"),
    ):
        with pytest.raises(DatasetError, match=told):
            list(dataset_of_pairs(pairs).train)
    for classes in ([], [f"class {index}" for index in range(256)], 256):
        with pytest.raises(DatasetError, match="classes: expected from 1 to 255"):
            dataset_of_pairs([(image, mask)], classes)
    with pytest.raises(DatasetError, match="the mask holds 7, but classes are 0 to 2"):
        list(dataset_of_pairs([(image, mask + 7)], 3).train)
