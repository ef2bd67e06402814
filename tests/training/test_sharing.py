"""How many members share a GPU, by estimates that need no GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from muster.models import Segmenter, build_model
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.pool_training import memory_of
from muster.training.settings import SourceSettings
from muster.training.sharing import CONTEXT_BYTES, MOST_SHARING, training_bytes, workers_per_gpu, workers_side_by_side

GB = 1 << 30


@pytest.mark.parametrize(
    ("job_bytes", "gpu", "cores", "gpus", "expected"),
    [
        ([2 * GB], 80 * GB, 16, 1, 8),  # as many as were tried
        ([2 * GB], 80 * GB, 256, 1, MOST_SHARING),
        ([2 * GB], 80 * GB, 6, 1, 3),  # two cores each
        ([2 * GB], 80 * GB, 16, 4, 2),  # on each of four
        ([2 * GB], 8 * GB, 16, 1, 3),  # 6.4 GB are planned with
        ([2 * GB, 5 * GB], 8 * GB, 16, 1, 1),  # the largest may meet any other
        ([200 * GB], 80 * GB, 16, 1, 1),  # it may fit all the same
        ([2 * GB], 80 * GB, 1, 1, 1),
        ([], 80 * GB, 16, 1, 1),
    ],
)
def test_memory_and_cores_bound_how_many_share(
    job_bytes: list[int], gpu: int, cores: int, gpus: int, expected: int
) -> None:
    assert workers_per_gpu(job_bytes, gpu, cores, gpus) == expected


def saved_bytes(model: Segmenter, batch_size: int, crop_size: int) -> int:
    """What really is kept for the way back, and the weights with gradient and momentum, on the CPU."""
    kept: dict[int, int] = {}
    weights = {value.data_ptr() for value in model.parameters()}

    def pack(value: Tensor) -> Tensor:
        if value.data_ptr() not in weights:
            kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    images = torch.zeros(batch_size, 3, crop_size, crop_size)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        scores = nn.functional.interpolate(model(images), size=(crop_size, crop_size), mode="bilinear")
        loss = scores.log_softmax(dim=1).mean()
    assert loss.requires_grad
    return sum(kept.values()) + 3 * sum(value.nbytes for value in model.parameters())


@pytest.mark.parametrize("architecture", ["small_fpn", "small_unet", "hrnet_w18", "fpn:resnet18"])
def test_the_estimate_is_above_what_is_needed_but_not_by_much(architecture: str) -> None:
    model = build_model(architecture, 11, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    estimate = training_bytes(model, 2, (96, 96)) - CONTEXT_BYTES
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    needed = saved_bytes(model.train(), 2, 96)
    assert needed <= estimate <= 4 * needed


def test_larger_batches_and_crops_take_more() -> None:
    model = build_model("small_fpn", 5)
    small = training_bytes(model, 2, (64, 64))
    assert training_bytes(model, 4, (64, 64)) > small
    assert training_bytes(model, 2, (128, 128)) > small


def test_each_member_is_estimated_with_its_own_settings(dataset_folder: Path, tmp_path: Path) -> None:
    settings = SourceSettings(batch_size=2, crop_size=32, image_size=48)
    job = MemberJob("a", tmp_path, str(dataset_folder), "small_fpn", "none", settings, Hardware("cpu"))
    jobs = [job, replace(job, name="b", settings=replace(settings, crop_size=64)), replace(job, name="c")]
    small, large, same = memory_of(jobs)
    assert small == same == training_bytes(build_model("small_fpn", 3), 2, (32, 32))
    assert large == training_bytes(build_model("small_fpn", 3), 2, (64, 64))


def test_on_gpus_small_members_share_and_large_fits_do_not(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Properties:
        total_memory = 80 * GB

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties)
    monkeypatch.setattr("muster.training.sharing.available_cores", lambda: 16)
    settings = SourceSettings(batch_size=2, crop_size=32, image_size=48)
    job = MemberJob("a", tmp_path, str(dataset_folder), "small_fpn", "none", settings, Hardware())
    assert workers_side_by_side(Hardware(), lambda: memory_of([job])) == 2 * 4
    assert workers_side_by_side(Hardware(devices=2), lambda: memory_of([job])) == 1
    assert workers_side_by_side(Hardware("cpu"), lambda: memory_of([job])) == 16
