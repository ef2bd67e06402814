"""Members that an executor runs give the selection that they give here; with Ray: tests/execution/test_ray_tasks.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from muster.data import Dataset, open_dataset
from muster.errors import PoolError
from muster.execution.executor import Job
from muster.pool import Pool
from muster.probe import (
    Elsewhere,
    ProbeCache,
    ProbeReader,
    SharedCache,
    draw_probe_set,
    member_key,
    member_probabilities,
)
from muster.report import selection_images
from muster.selection.image_predictions import ProbedFeatures
from muster.selection.probe_tasks import ProbeTasks
from muster.selection.record import Selection
from muster.selection.run import select
from tests.execution.this_process import ThisProcess
from tests.helpers import make_member, make_target, shown, undated
from tests.odd_inputs.bench import write_dataset

OPTIONS: dict[str, Any] = {"size": 2, "resamples": 40, "pixels_per_image": 30, "image_size": 64}


class Counting(ThisProcess):
    """Knows which jobs it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[str] = []

    def submit(self, job: Job) -> None:
        self.submitted.append(job.name)
        super().submit(job)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("elsewhere")
    write_dataset(folder / "tiny", images=8, tests=1)
    for seed, name in enumerate("abcd"):
        make_member(folder / "pool", name, seed, classes=3 + seed % 3, broken=name == "c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSTER_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def target(home: Path) -> Dataset:
    return open_dataset(str(home / "tiny"))


def choose(home: Path, tasks: ProbeTasks | None, **options: Any) -> Selection:
    with pytest.warns(UserWarning, match="'c' is left out"):
        return select(home / "pool", str(home / "tiny"), tasks=tasks, **OPTIONS | options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metrics": ("logme", "leep+haste_cs", "e_leep+haste_cs"), "cache_gb": 0.0},
        {"predictor": "eep", "metrics": ("e_leep+haste_cs",), "cache_gb": 0.0},
    ],
    ids=["linear probe", "features and hard subsets", "recounted"],
)
def test_a_selection_is_the_same_whoever_runs_the_members(
    options: dict[str, Any], home: Path, target: Dataset, tmp_path: Path
) -> None:
    executor = Counting()
    here = choose(home, None, **{**options, "cache_gb": 0.0})
    there = choose(home, ProbeTasks(executor, tmp_path / "work"), **options, cache_dir=tmp_path / "cache")
    assert undated(there) == undated(here)
    assert sorted(executor.submitted) == ["a", "b", "c", "d", "device"]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["made"]
    images = (selection_images(each, Pool.open(home / "pool"), target) for each in (here, there))
    for ours, theirs in zip(*images, strict=True):
        assert torch.equal(ours.confidence.nan_to_num(), theirs.confidence.nan_to_num())


def test_what_was_read_is_in_the_cache_then_and_is_not_read_again(home: Path, tmp_path: Path) -> None:
    cache, first, second = tmp_path / "cache", Counting(), Counting()
    there = choose(home, ProbeTasks(first, tmp_path / "first"), cache_dir=cache)
    assert len(list(cache.glob("*.safetensors"))) == 7  # of three sound members two each; of the other its NaN
    again = choose(home, ProbeTasks(second, tmp_path / "second"), cache_dir=cache)
    assert second.submitted == ["device", "c"]  # of which there is no linear probe
    assert choose(home, None, cache_dir=cache).to_mapping() | {"date": ""} == again.to_mapping() | {"date": ""}
    assert undated(again) == undated(there)


def test_classifiers_for_whole_images_go_by_the_places_of_these(home: Path) -> None:
    """The second image is all void: no probe pixel is in it, and it has no place among those that have some."""
    with pytest.warns(UserWarning, match="'c' is left out"):
        chosen = select(home / "pool", make_target(5, void=("01",)), **OPTIONS, cache_gb=0.0)
    assert chosen.train_images[1] == "01"
    for predictor in chosen.on_images.values():
        assert isinstance(predictor, ProbedFeatures)
        assert set(predictor.readers) == {0, 2, 3, 4}


def test_an_interrupted_selection_goes_on_with_what_was_made(home: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    for seed, name in enumerate("ab"):
        make_member(pool, name, seed)
    weights = pool / "members" / "b" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"?")
    tasks = ProbeTasks(executor := Counting(), tmp_path / "work")
    with pytest.raises(PoolError, match=r"1 of 2 members .* b: Member 'b': .* does not match its card"):
        select(pool, str(home / "tiny"), tasks=tasks, **OPTIONS, cache_gb=0.0)
    weights.write_bytes(whole)
    select(pool, str(home / "tiny"), tasks=tasks, **OPTIONS, cache_gb=0.0)
    assert executor.submitted == ["device", "a", "b", "device", "b"]


def test_a_worker_that_sees_other_images_refuses(home: Path, tmp_path: Path) -> None:
    class Elsewhere(Counting):
        def submit(self, job: Job) -> None:
            """On a machine that has an older copy of the target at that path."""
            super().submit(replace(job, content=job.content.replace(str(home / "tiny"), str(tmp_path / "tiny"))))

    write_dataset(tmp_path / "tiny", images=7, tests=1)
    with pytest.raises(PoolError, match=r"Member 'a' would be run on other images, .*\(cpu, 32-true\)"):
        select(home / "pool", str(home / "tiny"), tasks=ProbeTasks(Elsewhere(), tmp_path / "work"), **OPTIONS)


def test_a_prefilter_passes_over_the_same_members(home: Path, tmp_path: Path) -> None:
    executor, options = Counting(), {"prefilter": 2, "cache_gb": 0.0, "pixels_per_image": 40, "train_images": 8}
    here, there = (choose(home, tasks, **options) for tasks in (None, ProbeTasks(executor, tmp_path / "work")))
    assert there.prefilter == here.prefilter
    assert there.members == here.members
    assert there.excluded.keys() == here.excluded.keys()
    assert there.score == pytest.approx(here.score, rel=1e-5)  # batches were others
    assert sorted(executor.submitted) == sorted(
        ["device", "a", "b", "c", "d", *there.members]
    )  # one round, and all images


def test_predictions_are_looked_up_under_the_device_that_made_them(tmp_path: Path) -> None:
    """Whoever leads may have no GPU, and must not take its own numbers for those of one."""
    target, member = make_target(3), make_member(tmp_path / "pool", "a", 0)
    arguments = target.train, draw_probe_set(target.train, 5), shown(target.train, 64)
    here = ProbeReader(*arguments)
    there = ProbeReader(*arguments, elsewhere=Elsewhere("cuda", "cuda (NVIDIA H100)", "bf16-mixed"))
    assert member_key(member, here) != member_key(member, there)
    assert there.of_images((0, 1)).made_on == "cuda"
    lasting = ProbeCache(tmp_path / "lasting")
    predictions = torch.rand(len(here.probe), 4)
    lasting.put(member_key(member, there), predictions)
    shared = SharedCache(tmp_path / "made", math.inf, lasting)
    assert torch.equal(member_probabilities(member, there, shared), predictions)
    with pytest.raises(PoolError, match="'a' was run elsewhere, but what it gave is not in"):
        member_probabilities(member, here, shared)
