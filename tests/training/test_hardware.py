"""What ``auto`` means, and that layout, compilation and precision change what they should and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from muster.data import Dataset
from muster.errors import ConfigError
from muster.machine import available_cores
from muster.models import build_model
from muster.precision import autocast
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import MOST_READERS, Hardware
from muster.training.modules import EnsembleTraining
from muster.training.settings import TrainingSettings
from tests.helpers import shown

SETTINGS = TrainingSettings(steps=3, batch_size=2, crop_size=32, seed=1)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Hardware:
    """A machine whose GPU has bf16, as far as questions about it go."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    return Hardware()


class TestAuto:
    def test_on_a_cpu_is_what_it_always_was(self) -> None:
        hardware = Hardware("cpu")
        assert hardware.resolved_precision() == "32-true"
        assert hardware.resolved_num_workers() == 0
        assert not hardware.resolved_channels_last()
        assert not hardware.resolved_compile()

    def test_on_a_gpu_feeds_it(self, gpu: Hardware) -> None:
        assert (gpu.resolved_device(), gpu.resolved_precision()) == ("cuda", "bf16-mixed")
        assert gpu.resolved_num_workers() == min(MOST_READERS, available_cores())
        assert gpu.resolved_num_workers(beside=10_000) == 1
        assert gpu.resolved_channels_last()

    def test_in_single_precision_keeps_the_layout(self, gpu: Hardware) -> None:
        assert not replace(gpu, precision="32-true").resolved_channels_last()
        assert replace(gpu, precision="32-true", channels_last=True).resolved_channels_last()
        assert not replace(gpu, channels_last=False).resolved_channels_last()

    def test_what_is_given_is_taken(self) -> None:
        hardware = Hardware("cpu", num_workers=3, compile=True)
        assert hardware.resolved_num_workers(beside=2) == 3
        assert hardware.resolved_compile()
        with pytest.raises(ConfigError, match=r"hardware\.num_workers: expected a whole number"):
            Hardware(num_workers=-1)

    def test_products_are_rounded_on_a_gpu_in_mixed_precision_only(self, gpu: Hardware) -> None:
        before = torch.get_float32_matmul_precision()
        for hardware, expected in ((gpu, "high"), (replace(gpu, precision="32-true"), before)):
            with hardware.fast_products():
                assert torch.get_float32_matmul_precision() == expected
            assert torch.get_float32_matmul_precision() == before
        with Hardware("cpu", precision="bf16-mixed").fast_products():
            assert torch.get_float32_matmul_precision() == before


def test_autocast_does_nothing_in_single_precision() -> None:
    values = torch.ones(2, 2)
    with autocast("32-true", torch.device("cpu")):
        assert (values @ values).dtype == torch.float32
    with autocast("bf16-mixed", torch.device("cpu")):
        assert (values @ values).dtype == torch.bfloat16


class Layouts(pl.Callback):
    """Notes how images and weights lie in memory."""

    def __init__(self) -> None:
        self.found: set[bool] = set()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        weight = next(value for value in pl_module.parameters() if value.ndim == 4 and min(value.shape[1:]) > 1)
        self.found |= {each.is_contiguous(memory_format=torch.channels_last) for each in (batch[0], weight)}


def train(target: Dataset, folder: Path, hardware: Hardware) -> tuple[EnsembleTraining, Layouts]:
    module = EnsembleTraining(SETTINGS, 3, ("a",), (build_model("small_fpn", 3, seed=0),))
    data = FitData(target.train, shown(target.train, 48), SETTINGS, 0)
    layouts = Layouts()
    fit(module, data, folder, hardware, [layouts])
    return module, layouts


def test_the_layout_changes_no_number(target: Dataset, tmp_path: Path) -> None:
    usual, before = train(target, tmp_path / "usual", Hardware("cpu"))
    last, after = train(target, tmp_path / "last", Hardware("cpu", channels_last=True))
    assert (before.found, after.found) == ({False}, {True})
    for name, value in usual.state_dict().items():
        torch.testing.assert_close(last.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_steps_go_through_what_a_member_is_compiled_to(
    target: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[torch.nn.Module] = []

    def compiled(model: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """Stands for the compiler, which the shape checks of the test run are too odd for."""

        def forward(images: torch.Tensor) -> torch.Tensor:
            calls.append(model)
            scores: torch.Tensor = model(images)
            return scores

        return forward

    monkeypatch.setattr(torch, "compile", compiled)
    usual, _ = train(target, tmp_path / "usual", Hardware("cpu"))
    assert not calls
    module, _ = train(target, tmp_path / "compiled", Hardware("cpu", compile=True))
    assert calls == [module.members[0]] * SETTINGS.steps
    for name, value in usual.state_dict().items():
        assert torch.equal(module.state_dict()[name], value)
