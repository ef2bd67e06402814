"""SimCLR: its loss beside a slow one, an interruption, and members that start from its weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from muster.commands.main import main
from muster.data import Dataset, open_dataset
from muster.errors import ConfigError, DatasetError, PretrainingError
from muster.models import build_model
from muster.training.checkpoints import CHECKPOINT
from muster.training.hardware import Hardware
from muster.training.pretraining_record import RECORD, PretrainingRecord, read_pretraining
from muster.training.seen_weights import seen_by_weights
from muster.training.simclr import SimCLRSettings, pretrain_simclr
from muster.training.simclr.images import ViewPairs, open_unlabelled
from muster.training.simclr.module import SimCLR
from muster.training.simclr.pretraining import WEIGHTS, WORK

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

SETTINGS = SimCLRSettings(
    steps=4, batch_size=4, view_size=32, learning_rate=0.3, hidden_channels=16, projection_channels=8,
    checkpoint_every=1,
)  # fmt: skip
PLACE = ["worlds/city_drive@8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PretrainingRecord]:
    """Four undisturbed steps on eight images of a world, and what lies beside the weights."""
    folder = tmp_path_factory.mktemp("simclr")
    return folder, pretrain_simclr(open_unlabelled(PLACE, []), "small_fpn", "none", SETTINGS, folder, Hardware("cpu"))


def slow_loss(projections: list[list[float]], temperature: float) -> float:
    """Equation 1 of the paper and the mean over all 2N views, view by view; 2k and 2k + 1 are of one image."""
    lengths = [math.sqrt(sum(value**2 for value in each)) for each in projections]

    def similarity(one: int, other: int) -> float:
        product = sum(a * b for a, b in zip(projections[one], projections[other], strict=True))
        return product / (lengths[one] * lengths[other]) / temperature

    total = 0.0
    for view in range(len(projections)):
        others = [other for other in range(len(projections)) if other != view]
        partner = view + 1 if view % 2 == 0 else view - 1
        total -= math.log(math.exp(similarity(view, partner)) / sum(math.exp(similarity(view, k)) for k in others))
    return total / len(projections)


def test_the_loss_is_the_papers() -> None:
    module = SimCLR(build_model("small_fpn", 1).body, SETTINGS)
    stream = ViewPairs(open_unlabelled(PLACE, []), SETTINGS)
    views, mean, std = (torch.stack(parts) for parts in zip(*(stream[index] for index in range(5)), strict=True))
    assert views.shape == (5, 2, 3, 32, 32)
    found = float(module.contrast(views, mean, std).detach())
    flat = (views.float().div(255) - mean[:, None]).div(std[:, None]).flatten(0, 1)  # both views of an image in a row
    by_hand = slow_loss(module(flat).tolist(), SETTINGS.temperature)
    assert found == pytest.approx(by_hand, rel=1e-4)
    assert slow_loss([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]], 1.0) == pytest.approx(math.log(1 + 2 / math.e))


def test_views_depend_on_seed_and_number_alone(target: Dataset) -> None:
    stream = ViewPairs([target.train, *open_unlabelled(PLACE, [])], SETTINGS)
    shown = [stream[index] for index in range(14)]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert all(torch.equal(a, b) for a, b in zip(stream[9], shown[9], strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(shown[0][0][0], shown[0][0][1])
    means = [tuple(example[1].flatten().tolist()) for example in shown]
    assert sorted(means.count(each) for each in set(means)) == [6, 8]  # each image once, with its own dataset's
    with pytest.raises(IndexError, match="from 0 to 15"):
        stream[16]


def test_an_interrupted_run_ends_as_an_undisturbed_one(
    run: tuple[Path, PretrainingRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, done = SimCLR.training_step, []

    def broken(self: SimCLR, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        done.append(self.global_step)
        if done == [0, 1, 2]:
            raise InterruptedError
        return step(self, batch)

    def train() -> PretrainingRecord:
        return pretrain_simclr(open_unlabelled(PLACE, []), "small_fpn", "none", SETTINGS, tmp_path, Hardware("cpu"))

    monkeypatch.setattr(SimCLR, "training_step", broken)
    with pytest.raises(InterruptedError):
        train()
    assert (tmp_path / WORK / CHECKPOINT).is_file()
    again = train()
    assert done == [0, 1, 2, 2, 3]
    assert again.losses == run[1].losses
    expected = load_file(run[0] / WEIGHTS)
    assert all(torch.equal(value, expected[name]) for name, value in load_file(tmp_path / WEIGHTS).items())
    assert train() == again  # it is there already
    assert len(done) == 5


def test_a_member_starts_from_the_weights_and_says_what_they_have_seen(
    run: tuple[Path, PretrainingRecord], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, record = run
    path, tensors = folder / WEIGHTS, load_file(folder / WEIGHTS)
    model = build_model("small_fpn", 5, str(path), seed=3)
    state, fresh = model.body.state_dict(), build_model("small_fpn", 5, seed=3).body.state_dict()
    assert {f"body.{name}" for name in state} == set(tensors)
    assert all(torch.equal(value, tensors[f"body.{name}"]) for name, value in state.items())
    assert not torch.equal(state["stem.0.weight"], fresh["stem.0.weight"])
    assert model.started_from["source"] == f"{WEIGHTS}, made of SimCLR on 8 images of city_drive"
    assert model.started_from["licence"] == open_dataset(PLACE[0]).spec.licence
    assert model.started_from["sha256"] == record.sha256
    (seen,) = seen_by_weights(path)
    assert (seen.dataset, seen.images) == ("city_drive", 8)
    assert seen_by_weights(None) == ()
    monkeypatch.setenv("MUSTER_WEIGHTS", str(tmp_path))
    with pytest.raises(PretrainingError, match=r"no SimCLR weights for 'small_fpn'.*muster pretrain"):
        build_model("small_fpn", 5, "simclr")
    (tmp_path / "small_fpn-simclr.safetensors").write_bytes(path.read_bytes())
    by_word = build_model("small_fpn", 5, "simclr", seed=3)
    assert torch.equal(by_word.body.state_dict()["stem.0.weight"], state["stem.0.weight"])
    (tmp_path / RECORD).write_bytes((folder / RECORD).read_bytes())
    (tmp_path / WEIGHTS).write_bytes((tmp_path / "small_fpn-simclr.safetensors").read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(PretrainingError, match="speaks of other weights"):
        seen_by_weights(tmp_path / WEIGHTS)


def test_the_command_pretrains_an_encoder_on_a_folder_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(4):
        Image.effect_noise((40 + number, 36), 90).convert("RGB").save(f"photos/{number}.png")
    quick = {"steps": 1, "batch_size": 4, "view_size": 32, "hidden_channels": 8, "optimizer": "adamw"}
    words = ["--images", "[photos]", *(f"--training.{name}={value}" for name, value in quick.items())]
    words += ["--architecture", "unet:tu-resnet10t", "--hardware.device", "cpu", "--output", "made"]
    assert main(["pretrain", *words]) == 0
    assert "pretraining: simclr, weights: made/weights.safetensors" in " ".join(capsys.readouterr().out.split())
    assert {path.name for path in Path("made").iterdir()} >= {WEIGHTS, RECORD, "config.yaml", "logs"}
    assert not Path("made/work").exists()
    record = read_pretraining(Path("made") / WEIGHTS)
    assert (record.holds, record.images, record.licences) == ("backbone", 4, ("unknown (photos)",))
    tensors = load_file("made/weights.safetensors")
    other = build_model("fpn:tu-resnet10t", 2, "made/weights.safetensors")
    assert torch.equal(other.body.state_dict()["encoder.model.conv1.0.weight"], tensors["conv1.0.weight"])
    assert "0 of the file left out" not in other.started_from["tensors"]


def test_what_cannot_work_is_refused(tmp_path: Path, target: Dataset) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        open_unlabelled([*PLACE, *PLACE], [])
    with pytest.raises(ConfigError, match="at least one dataset"):
        open_unlabelled([], [])
    with pytest.raises(DatasetError, match="holds no image"):
        open_unlabelled([], [tmp_path])
    with pytest.raises(ConfigError, match="more than 0 with lars"):
        SimCLRSettings(weight_decay=0.0)
    with pytest.raises(ConfigError, match="multiple of 32"):
        SimCLRSettings(view_size=40).require_fitting(build_model("small_fpn", 1).body, 1)
    with pytest.raises(ConfigError, match="multiple of the 3 devices"):
        SimCLRSettings(batch_size=4).require_fitting(build_model("small_fpn", 1).body, 3)
    assert SimCLRSettings(batch_size=512).rate == pytest.approx(0.6)
    assert SimCLRSettings(optimizer="adamw").rate == pytest.approx(0.001)
