"""Ensembles: their head, their predictions, and their folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import muster
from muster.data import Dataset, prepare_image
from muster.models import Segmenter, build_model, upsample_probabilities
from muster.tasks.units import draw_units
from muster.training import finetuned_ensemble as ensemble_module
from muster.training.ensemble_card import CARD, EnsembleError
from muster.training.finetuned_ensemble import HEAD, Ensemble, load_ensemble
from muster.training.head import learn_head
from muster.training.settings import HeadSettings
from tests.helpers import at_work_elsewhere, make_target, shown

NAMES = ("first", "größer")
FILES = ("member_0_first.safetensors", "member_1_größer.safetensors")

PIXELS_PER_IMAGE = HeadSettings().pixels_per_image


@pytest.fixture
def ensemble(target: Dataset) -> Ensemble:
    models = [build_model(name, 3, seed=seed) for seed, name in enumerate(("small_fpn", "small_unet"))]
    for model in models:
        with torch.no_grad():
            model.head.weight *= 10
    return Ensemble(NAMES, models, target.spec.classes, shown(target.train, 64)).eval()


@pytest.fixture
def learned(ensemble: Ensemble) -> Ensemble:
    """One whose head is far from the plain mean."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        ensemble.head.weights.uniform_(0.5, 2, generator=generator)
        ensemble.head.biases.normal_(generator=generator)
    return ensemble


def make_image(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(height)) * 255
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 255)[0].byte()


def frozen_state(ensemble: Ensemble) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in ensemble.members.state_dict().items()}


class TestHead:
    def test_starts_as_the_plain_mean(self, ensemble: Ensemble) -> None:
        image = make_image(64, 64)
        images = prepare_image(torch.stack([image, image.flip(-1)]), ensemble.preprocessing)
        mean = torch.zeros(2, 3, 37, 50)
        for member in ensemble.members:
            assert isinstance(member, Segmenter)
            mean += upsample_probabilities(member.predict(images), (37, 50)) / 2
        assert torch.allclose(ensemble(images, (37, 50)), mean, atol=1e-6)

    def test_weights_and_biases_by_hand(self, ensemble: Ensemble) -> None:
        scores = torch.tensor([1.0, 2.0, 3.0])[None, :, None, None]
        with torch.no_grad():
            ensemble.head.weights[1] = torch.tensor([2.0, 0.0, -1.0])
            ensemble.head.biases[1] = torch.tensor([0.5, 4.0, 0.0])
        assert ensemble.head.adjust(0, scores).flatten().tolist() == [1, 2, 3]
        assert ensemble.head.adjust(1, scores).flatten().tolist() == [2.5, 4, -3]

    def test_is_learned_from_what_whole_maps_say(self, ensemble: Ensemble, target: Dataset) -> None:
        def slowly() -> float:
            losses = []
            for index, sample in enumerate(target.train):
                image = prepare_image(sample.image, ensemble.preprocessing)
                whole = ensemble(image[None], tuple(sample.mask.shape))[0]
                places, _ = draw_units(ensemble.task, sample.mask, PIXELS_PER_IMAGE, 4, index)
                chosen = whole.flatten(1)[:, places].gather(0, sample.mask.flatten()[places].long()[None])
                losses.append(-chosen.flatten().log())
            assert [len(each) for each in losses] == [PIXELS_PER_IMAGE] * 2 + [0] + [PIXELS_PER_IMAGE] * 3
            return float(torch.cat(losses).mean())

        members, start = frozen_state(ensemble), slowly()
        before, after = learn_head(ensemble, target.train, 4, batch_size=3)
        assert before == pytest.approx(start, abs=1e-5)
        assert after == pytest.approx(slowly(), abs=1e-5)
        assert after < before - 0.01
        for name, value in ensemble.members.state_dict().items():
            assert torch.equal(value, members[name]), name

    def test_stays_the_plain_mean_if_there_is_no_label(self, ensemble: Ensemble) -> None:
        void = make_target(2, void=("00", "01")).train
        assert learn_head(ensemble, void, 0) == (0, 0)
        assert torch.equal(ensemble.head.weights, torch.ones(2, 3))
        assert torch.equal(ensemble.head.biases, torch.zeros(2, 3))

    def test_a_member_that_says_nan_leaves_the_plain_mean(self, ensemble: Ensemble, target: Dataset) -> None:
        with torch.no_grad():
            ensemble.members[1].get_parameter("head.weight").fill_(float("nan"))
        learn_head(ensemble, target.train, 0)
        assert torch.equal(ensemble.head.weights, torch.ones(2, 3))


class TestPrediction:
    @pytest.mark.parametrize(("height", "width"), [(37, 91), (64, 64), (200, 133), (1, 40)])
    @pytest.mark.parametrize("at_once", [None, 500, 1])
    def test_is_the_likeliest_class_of_the_whole_map(
        self, learned: Ensemble, monkeypatch: pytest.MonkeyPatch, height: int, width: int, at_once: int | None
    ) -> None:
        if at_once is not None:
            monkeypatch.setattr(ensemble_module, "PIXELS_AT_ONCE", at_once)
        image = make_image(height, width)
        labels = learned.predict(image)
        assert labels.shape == (height, width)
        whole = learned(prepare_image(image, learned.preprocessing)[None], (height, width))[0]
        best, second = whole.topk(2, dim=0).values
        clear = best - second > 1e-5
        assert clear.float().mean() > 0.99
        assert torch.equal(labels[clear].long(), whole.argmax(dim=0)[clear])
        if height > 1:
            assert len(labels.unique()) > 1


class TestFolder:
    @pytest.fixture
    def run(self, learned: Ensemble, tmp_path: Path) -> Path:
        learned.save(tmp_path / "run" / "ensemble", "tiny", {"muster": "0"})
        return tmp_path / "run"

    @pytest.mark.parametrize("below", ["", "ensemble"])
    def test_opens_in_one_call_and_predicts_the_same(self, learned: Ensemble, run: Path, below: str) -> None:
        opened = muster.load_ensemble(run / below)
        assert not opened.training
        assert (opened.names, opened.classes) == (NAMES, learned.classes)
        assert opened.preprocessing == learned.preprocessing
        image = prepare_image(make_image(50, 64), learned.preprocessing)[None]
        assert torch.equal(opened(image, (50, 64)), learned(image, (50, 64)))
        assert torch.equal(opened.predict(make_image(50, 64)), learned.predict(make_image(50, 64)))

    @pytest.mark.parametrize("name", [FILES[1], HEAD])
    @pytest.mark.parametrize(
        ("damage", "said"), [("gone", "cannot be read"), ("short", "cannot be read"), ("flipped", "does not match")]
    )
    def test_a_damaged_file_is_named(self, run: Path, name: str, damage: str, said: str) -> None:
        path = run / "ensemble" / name
        content = path.read_bytes()
        path.unlink()
        if damage == "short":
            path.write_bytes(content[: len(content) // 2])
        if damage == "flipped":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(EnsembleError, match=said) as caught:
            load_ensemble(run)
        assert str(path) in str(caught.value)

    def test_the_file_of_another_member_is_refused(self, run: Path) -> None:
        folder = run / "ensemble"
        (folder / FILES[0]).write_bytes((folder / FILES[1]).read_bytes())
        with pytest.raises(EnsembleError, match=r"member_0_first\.safetensors does not match its card"):
            load_ensemble(run)

    def test_names_that_are_no_file_names(self, ensemble: Ensemble, tmp_path: Path) -> None:
        ensemble.names = ("../head", "a/b c")
        ensemble.save(tmp_path / "made", "tiny", {})
        assert [path.name for path in tmp_path.iterdir()] == ["made"]
        opened = load_ensemble(tmp_path / "made")
        assert opened.names == ensemble.names
        assert torch.equal(opened.predict(make_image(40, 40)), ensemble.predict(make_image(40, 40)))

    def test_saving_waits_its_turn(self, learned: Ensemble, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("muster.outputs.PATIENCE", 0.1)
        with at_work_elsewhere(run / "ensemble"), pytest.raises(EnsembleError, match="at work on an ensemble"):
            learned.save(run / "ensemble", "tiny", {})

    def test_a_card_that_is_gone_or_wrong_is_named(self, run: Path) -> None:
        card = run / "ensemble" / CARD
        card.write_text(card.read_text("utf-8").replace("image_size: 64", "image_size: wide"), "utf-8")
        with pytest.raises(EnsembleError, match=r"ensemble\.yaml: .*image_size: expected .*wide"):
            load_ensemble(run)
        card.unlink()
        with pytest.raises(EnsembleError, match=r"run holds no fine-tuned ensemble.*ensemble\.yaml is missing"):
            load_ensemble(run)
