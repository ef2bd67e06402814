"""A network taught by an ensemble, and averaged weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from muster.data import VOID, ChannelStatistics, Dataset, ImageSize, Preprocessing
from muster.errors import DatasetError
from muster.models import SourceModel, build_model
from muster.tasks.segmentation import SEGMENTATION
from muster.training.distillation import Distillation, with_unlabelled
from muster.training.finetuned_ensemble import Ensemble
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.settings import TrainingSettings
from muster.training.soup import alike, averaged, greedy_soup, uniform_soup

SHOWN = Preprocessing(ChannelStatistics((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)), ImageSize(longer=64))


@pytest.fixture
def teacher() -> Ensemble:
    members = [build_model("small_unet", 3, seed=seed) for seed in (0, 1)]
    with torch.no_grad():
        for member in members:
            member.head.weight *= 20
    members[1].preprocessing = Preprocessing(SHOWN.statistics, ImageSize(longer=64), "bgr")
    return Ensemble(("a", "b"), members, ("ground", "wall", "sky"), SHOWN).eval()


def test_soft_cross_entropy_by_hand() -> None:
    scores, wanted = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.tensor([0.25, 0.75]).view(1, 2, 1, 1)
    by_hand = -(0.25 * (1 - torch.tensor([1.0, 2.0]).logsumexp(0)) + 0.75 * (2 - torch.tensor([1.0, 2.0]).logsumexp(0)))
    assert float(SEGMENTATION.soft_loss(scores, wanted)) == pytest.approx(float(by_hand), abs=1e-6)
    hard = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    labels = torch.ones(1, 1, 1, dtype=torch.long)
    wanted_loss = torch.nn.functional.cross_entropy(scores, labels)
    assert float(SEGMENTATION.soft_loss(scores, hard)) == pytest.approx(float(wanted_loss), abs=1e-6)


def test_the_network_approaches_the_ensemble_which_stays_as_it_is(
    teacher: Ensemble, target: Dataset, hardware: Hardware, tmp_path: Path
) -> None:
    settings = TrainingSettings(steps=12, batch_size=2, learning_rate=0.05, crop_size=64, scale_range=(1.0, 1.0))
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    module = Distillation(settings, teacher, "student", build_model("small_unet", 3, seed=5), label_weight=0.0)
    fit(module, FitData(target.train, SHOWN, settings), tmp_path, hardware)
    curve = module.losses("student")
    assert curve[-1][1] < curve[0][1]
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not any("_teachers" in key for key in module.state_dict())


def test_images_without_labels_are_void(target: Dataset, tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (1, 2, 3)).save(tmp_path / "more.png")
    joined = with_unlabelled(target.train, tmp_path)
    assert joined.identifiers[: len(target.train)] == target.train.identifiers
    sample = joined[len(target.train)]
    assert sample.image[:, 0, 0].tolist() == [1, 2, 3]
    assert sample.mask.shape == (10, 20)
    assert sample.mask.unique().tolist() == [VOID]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match="holds no image"):
        with_unlabelled(target.train, tmp_path / "nothing")
    of_four_bands = replace(target.train, spec=replace(target.spec, channels=4))
    with pytest.raises(DatasetError, match=r"read as RGB, but those of .* have 4 channel"):
        with_unlabelled(of_four_bands, tmp_path)


class TestSoup:
    def test_weights_are_averaged(self) -> None:
        models = {name: build_model("small_unet", 3, seed=seed) for seed, name in enumerate("ab")}
        soup = uniform_soup(models)
        states = [model.state_dict() for model in models.values()]
        for key, value in soup.model.state_dict().items():
            assert torch.allclose(value.double(), (states[0][key].double() + states[1][key].double()) / 2), key
        assert soup.names == ("a", "b")
        same = averaged([models["a"], models["a"]])
        assert all(torch.equal(value, states[0][key]) for key, value in same.state_dict().items())

    def test_a_greedy_soup_takes_what_helps(self) -> None:
        models: dict[str, SourceModel] = {name: build_model("small_unet", 3, seed=s) for s, name in enumerate("abc")}
        reference = averaged([models["b"], models["c"]]).get_parameter("head.weight")

        def result_of_model(model: SourceModel) -> float:
            return -float((model.get_parameter("head.weight") - reference).detach().abs().sum())

        soup = greedy_soup(models, result_of_model)
        assert set(soup.names) == {"b", "c"}
        assert soup.held_out == pytest.approx(0, abs=1e-5)

    def test_members_that_are_alike(self, teacher: Ensemble) -> None:
        assert alike(teacher) == ()  # they see their images differently
        teacher.members[1].preprocessing = None
        assert alike(teacher) == ("a", "b")
