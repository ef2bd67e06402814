"""Predictions are found again by content, and only by content."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from muster.data import ChannelStatistics, ImageSize
from muster.errors import PoolError
from muster.probe import (
    ProbeCache,
    ProbeReader,
    draw_probe_set,
    member_probabilities,
    member_reading,
    prediction_key,
)
from muster.probe.cache import default_cache_folder
from tests.helpers import make_pool, make_target, shown

STATISTICS = ChannelStatistics((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def test_what_was_put_comes_back_exactly(tmp_path: Path) -> None:
    cache = ProbeCache(tmp_path / "not there yet")
    values = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))
    assert cache.get("key", 7, 3) is None
    cache.put("key", values)
    found = cache.get("key", 7, 3)
    assert found is not None
    assert torch.equal(found, values)
    assert cache.get("key", 8, 3) is None


@pytest.mark.parametrize("content", [b"", b"not safetensors", None])
def test_a_damaged_file_is_a_miss_and_is_replaced(tmp_path: Path, content: bytes | None) -> None:
    cache, values = ProbeCache(tmp_path), torch.ones(4, 2)
    cache.put("key", values)
    path = tmp_path / "key.safetensors"
    path.write_bytes(path.read_bytes()[:-5] if content is None else content)
    assert cache.get("key", 4, 2) is None
    cache.put("key", values)
    assert cache.get("key", 4, 2) is not None


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    values = torch.ones(100, 10)  # 4000 bytes and a header
    cache = ProbeCache(tmp_path, limit_gb=13_000e-9)
    old, middle, new, newest = (digit * 64 for digit in "0123")
    for age, key in enumerate((old, middle, new)):
        cache.put(key, values)
        os.utime(tmp_path / f"{key}.safetensors", (1000 + age, 1000 + age))
    assert cache.get(old, 100, 10) is not None  # now the most recently used
    cache.put(newest, values)
    assert sorted(path.stem for path in tmp_path.iterdir()) == [old, new, newest]


def test_more_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    ProbeCache(tmp_path, limit_gb=1e-6).put("key", torch.ones(1000, 10))
    assert list(tmp_path.iterdir()) == []


def test_clearing_leaves_other_files_alone(tmp_path: Path) -> None:
    cache = ProbeCache(tmp_path)
    cache.put("0" * 64, torch.ones(10, 2))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model.safetensors").write_text("mine")
    (tmp_path / ".partial-download").write_text("mine")
    assert cache.clear() >= 80
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-download", "model.safetensors", "notes.txt"]
    assert ProbeCache(tmp_path / "missing").clear() == 0


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="Name another folder with cache_dir"):
        ProbeCache(tmp_path / "file").put("key", torch.ones(2, 2))


def test_the_default_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path
    monkeypatch.delenv("MUSTER_CACHE")
    assert default_cache_folder() == Path.home() / ".cache" / "muster" / "probe"


def test_every_fact_changes_the_key() -> None:
    split = make_target(3).train
    probe = draw_probe_set(split, 5, seed=0)
    facts = ("aa", "small_fpn", probe, seen := shown(STATISTICS, 64), "cpu")
    others = [
        ("bb", *facts[1:]),
        ("aa", "small_unet", *facts[2:]),
        ("aa", "small_fpn", draw_probe_set(split, 5, seed=1), *facts[3:]),
        ("aa", "small_fpn", replace(probe, content="changed"), *facts[3:]),
        *(
            (*facts[:3], other, "cpu")
            for other in (
                shown(ChannelStatistics((0.4, 0.5, 0.5), STATISTICS.std), 64),
                shown(STATISTICS, 96),
                replace(seen, size=ImageSize(shorter=64)),
                replace(seen, channel_order="bgr"),
                replace(seen, interpolation="bicubic"),
            )
        ),
        (*facts[:4], "cuda"),
        (*facts, "bf16-mixed"),
    ]
    keys = {prediction_key(*other) for other in (facts, *others)}
    assert len(keys) == 1 + len(others)
    relabelled = replace(probe, labels=probe.labels.flip(0))
    assert prediction_key("aa", "small_fpn", relabelled, seen, "cpu") == prediction_key(*facts)


def test_a_member_is_run_once(tmp_path: Path) -> None:
    split = make_target(3).train
    reader = ProbeReader(split, draw_probe_set(split, 10), shown(split, 32))
    member, cache, runs = make_pool(tmp_path / "pool", 1).members[0], ProbeCache(tmp_path / "cache"), []
    first = member_probabilities(member, reader, cache, lambda *_: runs.append(1))
    assert runs
    runs.clear()
    assert torch.equal(member_probabilities(member, reader, cache, lambda *_: runs.append(1)), first)
    assert not runs
    member_probabilities(member, reader, None, lambda *_: runs.append(1))
    assert runs


def test_damaged_weights_are_noticed_although_predictions_are_cached(tmp_path: Path) -> None:
    split = make_target(2).train
    reader = ProbeReader(split, draw_probe_set(split, 10), shown(split, 32))
    member, cache = make_pool(tmp_path / "pool", 1).members[0], ProbeCache(tmp_path / "cache")
    member_probabilities(member, reader, cache)
    weights = member.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(PoolError, match="does not match its card"):
        member_probabilities(member, reader, cache)


def test_what_is_put_later_is_there_when_it_is_looked_up(tmp_path: Path) -> None:
    cache, values = ProbeCache(tmp_path), torch.rand(5000, 20, generator=torch.Generator().manual_seed(0))
    for number in range(5):
        cache.put_later(str(number), values + number)
    found = cache.get("4", 5000, 20)
    assert found is not None
    assert torch.equal(found, values + 4)
    assert len(list(tmp_path.iterdir())) == 5
    (tmp_path / "file").write_text("")
    broken = ProbeCache(tmp_path / "file")
    broken.put_later("key", values)
    with pytest.warns(UserWarning, match="Name another folder with cache_dir"):
        broken.finish()
    broken.finish()  # said once


@pytest.mark.parametrize("features", [False, True])
def test_weights_damaged_beside_the_forward_passes_leave_nothing_behind(tmp_path: Path, features: bool) -> None:
    # The file can be loaded, and its numbers are sound: only the checksum tells.
    split = make_target(2).train
    reader = ProbeReader(split, draw_probe_set(split, 10), shown(split, 32))
    member, cache = make_pool(tmp_path / "pool", 1).members[0], ProbeCache(tmp_path / "cache")
    weights = member.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    read = member_reading if features else member_probabilities
    with pytest.raises(PoolError, match=f"Member '{member.name}': .* does not match its card"):
        read(member, reader, cache)
    cache.finish()
    assert not (tmp_path / "cache").exists()


def test_weights_that_cannot_be_loaded_are_first_of_all_damaged(tmp_path: Path) -> None:
    split = make_target(2).train
    reader = ProbeReader(split, draw_probe_set(split, 10), shown(split, 32))
    member = make_pool(tmp_path / "pool", 1).members[0]
    (member.folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(PoolError, match="does not match its card"):
        member_probabilities(member, reader)
