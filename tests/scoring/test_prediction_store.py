"""`PredictionStore` and `StoreWriter`."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from muster.errors import SelectionError
from muster.scoring.prediction_store import PredictionStore, draw_order
from muster.scoring.store_writer import StoreWriter

Numbers = np.ndarray[Any, Any]


@pytest.fixture
def said() -> tuple[Numbers, Numbers]:
    """Three members, 100 pixels, four classes."""
    generator = np.random.default_rng(0)
    return generator.dirichlet(np.ones(4), size=(3, 100)).astype(np.float32), generator.integers(0, 4, 100)


def written(folder: Path, eeps: Any, labels: Any, **options: Any) -> PredictionStore:
    with StoreWriter(folder, labels, eeps[0].shape[1], **options) as writer:
        for eep in eeps:
            writer.add(eep)
    return PredictionStore.open(folder)


@pytest.fixture(params=["memory", "disk"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., PredictionStore]:
    """Makes a store one way or the other."""
    if request.param == "memory":
        return PredictionStore.of
    return lambda eeps, labels, **options: written(tmp_path / "store", eeps, labels, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_holds_what_was_given(made: Any, said: Any, dtype: Any) -> None:
    eeps, labels = said[0].astype(dtype), said[1]
    store = made(eeps, labels, chunk_pixels=30)
    assert (store.num_members, store.num_pixels, store.num_classes, store.dtype) == (3, 100, 4, dtype)
    np.testing.assert_array_equal(store.labels, labels[store.order])
    for pixels in (slice(0, 100), slice(None), slice(17, 60), slice(99, 200), slice(5, 5), slice(-3, None)):
        block = store.block(pixels)
        assert block.dtype == dtype
        np.testing.assert_array_equal(block, eeps[:, store.order[pixels]])
    truths = store.true_class_probabilities()
    assert truths.dtype == dtype
    np.testing.assert_array_equal(truths, eeps[:, np.arange(100), labels][:, store.order])
    assert store.true_class_probabilities() is truths


def test_a_block_is_a_copy(made: Any, said: Any) -> None:
    eeps, labels = said
    before = eeps.copy()
    store = made(eeps, labels)
    store.block(slice(0, 10))[:] = 0
    np.testing.assert_array_equal(eeps, before)
    np.testing.assert_array_equal(store.block(slice(0, 10)), before[:, store.order[:10]])


def test_chunks_divide_the_pixels_and_are_sorted_by_label(made: Any, said: Any) -> None:
    store = made(*said, chunk_pixels=30)
    assert [(chunk.start, chunk.stop) for chunk in store.chunks] == [(0, 25), (25, 50), (50, 75), (75, 100)]
    assert sorted(store.order.tolist()) == list(range(100))
    for chunk in store.chunks:
        assert (np.diff(store.labels[chunk]) >= 0).all()


def test_first_chunks_are_a_random_sample() -> None:
    labels = np.repeat(np.arange(10), 1000)
    firsts = [draw_order(labels, seed, 500)[:500] for seed in range(40)]
    counts = np.stack([np.bincount(labels[first], minlength=10) for first in firsts])
    assert abs(counts.mean(axis=0) - 50).max() < 5  # standard deviation of the mean: about 1
    assert 4 < counts.std() < 9  # about 6.5 without replacement; 0 if dealt by class
    assert len(set(np.concatenate(firsts).tolist())) > 8000


def test_order_is_fixed_by_seed_and_labels(made: Any, said: Any) -> None:
    eeps, labels = said
    store = made(eeps, labels, seed=3, chunk_pixels=30)
    np.testing.assert_array_equal(store.order, PredictionStore.of(eeps[:1] / 2, labels, seed=3, chunk_pixels=30).order)
    assert (store.order != PredictionStore.of(eeps, labels, seed=4, chunk_pixels=30).order).any()


def test_in_memory_gives_the_arrays_back(made: Any, said: Any) -> None:
    eeps, labels = said
    members = made(eeps, labels, chunk_pixels=30).in_memory()
    np.testing.assert_array_equal(torch.stack(members.predictions).numpy(), eeps)
    np.testing.assert_array_equal(members.labels.numpy(), labels)
    assert members.num_classes == 4


def test_takes_lists_tensors_and_half_precision(made: Any, said: Any) -> None:
    eeps, labels = torch.from_numpy(said[0]).half(), torch.from_numpy(said[1])
    store = made(list(eeps), labels)
    assert store.dtype == np.float32
    np.testing.assert_array_equal(store.block(slice(0, 100)), eeps.float().numpy()[:, store.order])


def test_refuses_what_metrics_refuse(said: Any) -> None:
    eeps, labels = said
    with pytest.raises(ValueError, match=r"`eeps\[1\]` to hold probabilities between 0 and 1"):
        PredictionStore.of(eeps * np.array([1, 2, 1])[:, None, None], labels)
    with pytest.raises(ValueError, match=r"`labels` between 0 and 3"):
        PredictionStore.of(eeps, labels + 1)
    with pytest.raises(ValueError, match=r"`chunk_pixels` to be at least 1, but got 0"):
        PredictionStore.of(eeps, labels, chunk_pixels=0)
    with pytest.raises(ValueError, match=r"`pixels` to be a slice without a step"):
        PredictionStore.of(eeps, labels).block(slice(0, 10, 2))


def test_writer_refuses_what_does_not_fit(tmp_path: Path, said: Any) -> None:
    eeps, labels = said
    with StoreWriter(tmp_path / "store", labels, 4) as writer:
        writer.add(eeps[0])
        add = inspect.unwrap(StoreWriter.add)
        for wrong, message in (
            (eeps[1, :, :3], r"`eeps\[1\]` to have shape \[100, 4\], but got \[100, 3\]"),
            (eeps[1, :99], r"`eeps\[1\]` to have shape \[100, 4\], but got \[99, 4\]"),
            (eeps[1].astype(np.float64), r"`eeps\[1\]` to be float32 as the first member, but got float64"),
            (eeps[1] * 3, r"`eeps\[1\]` to hold probabilities between 0 and 1"),
            (np.full((100, 4), np.nan, np.float32), r"`eeps\[1\]` to hold probabilities between 0 and 1, but got NaN"),
        ):
            with pytest.raises(ValueError, match=message):
                add(writer, wrong)
        writer.add(eeps[1])
    np.testing.assert_array_equal(PredictionStore.open(tmp_path / "store").in_memory().predictions[1].numpy(), eeps[1])
    with pytest.raises(ValueError, match="inside the `with` block"):
        writer.add(eeps[2])
    with pytest.raises(ValueError, match=r"`labels` between 0 and 2, but got 0 to 3"):
        StoreWriter(tmp_path / "other", labels, 3)
    with pytest.raises(ValueError, match=r"at least one pixel"):
        StoreWriter(tmp_path / "other", labels[:0], 4)


def test_writer_leaves_nothing_half_done(tmp_path: Path, said: Any) -> None:
    eeps, labels = said
    with pytest.raises(ValueError, match="probabilities"):
        written(tmp_path / "store", [eeps[0], -eeps[1]], labels)
    with (
        pytest.raises(ValueError, match="at least one member to be written"),
        StoreWriter(tmp_path / "store", labels, 4),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    written(tmp_path / "store", eeps, labels)
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "store", labels, 4):
        raise RuntimeError
    assert PredictionStore.open(tmp_path / "store").num_members == 3  # the one before is still there
    assert written(tmp_path / "store", eeps[:1], labels).num_members == 1


def test_writer_asks_for_space_first(tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    eeps, labels = said
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3999))
    with pytest.raises(SelectionError, match=r"of 2 more member\(s\) take 0.0 GB, but only 0.0 GB are free"):
        written(tmp_path / "store", eeps, labels, num_members=2)  # 2 x 100 x 5 x 4 bytes
    assert written(tmp_path / "store", eeps[:1], labels, num_members=1).num_members == 1


def test_damaged_folders_are_refused(tmp_path: Path, said: Any) -> None:
    folder = tmp_path / "store"
    with pytest.raises(SelectionError, match="does not exist"):
        PredictionStore.open(folder)
    for name, damage in (
        ("00001.predictions", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("00002.true_class", Path.unlink),
        ("labels.npy", lambda path: path.write_bytes(b"")),
        ("order.npy", lambda path: np.save(path, np.arange(3))),
        ("store.yaml", lambda path: path.write_text("format_version: 0")),
    ):
        written(folder, *said)
        damage(folder / name)
        with pytest.raises(SelectionError, match=r"Write the store anew|make it anew"):
            PredictionStore.open(folder)


def test_file_that_vanishes_later(tmp_path: Path, said: Any) -> None:
    store = written(tmp_path / "store", *said)
    (tmp_path / "store" / "00001.predictions").write_bytes(b"short")
    with pytest.raises(SelectionError, match="ends too early"):
        store.block(slice(0, 10))
    (tmp_path / "store" / "00001.predictions").unlink()
    with pytest.raises(SelectionError, match="cannot be read"):
        store.block(slice(0, 10))
