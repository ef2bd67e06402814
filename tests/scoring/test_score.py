"""`score_ensembles` and `Ranking`."""

from __future__ import annotations

import inspect
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muster.cancel import Cancelled, CancelToken, set_by_interrupt
from muster.errors import SelectionError
from muster.metrics import ENSEMBLE_METRICS, METRICS, Accumulator, Definition, EnsembleBlock, Metric
from muster.metrics.ensemble_block import members_of
from muster.scoring import fixed_point
from muster.scoring.cpu import compiling, exhaustive, exhaustive_kernels
from muster.scoring.device.exhaustive import score_tiles
from muster.scoring.prediction_store import PredictionStore, draw_order
from muster.scoring.ranking import Ranking
from muster.scoring.score import list_candidates, score_ensembles
from muster.scoring.store_writer import StoreWriter
from tests.scoring.compiled_metrics import COMPILED

Numbers = np.ndarray[Any, Any]


def slow_scores(eeps: Numbers, labels: Numbers, members: tuple[int, ...]) -> dict[str, float]:
    """All metrics in one pass over the pixels, in float64; the arg max alone is of sums in the given type."""
    _, pixels, classes = eeps.shape
    tiny = float(np.finfo(eeps.dtype).smallest_normal)
    tp, union = [0] * classes, [0] * classes
    soft_tp, soft_union = [0.0] * classes, [0.0] * classes
    ms_leep = e_leep = soft = 0.0
    for i, label in enumerate(labels.tolist()):
        sums = list(eeps[members[0], i])
        for s in members[1:]:
            sums = [total + eeps[s, i, c] for c, total in enumerate(sums)]
        predicted = sums.index(max(sums))
        p = sum(float(eeps[s, i, label]) for s in members) / len(members)
        ms_leep += sum(math.log(max(float(eeps[s, i, label]), tiny)) for s in members) / pixels
        e_leep += math.log(max(p, tiny)) / pixels
        soft += p / pixels
        if predicted == label:
            tp[label] += 1
            union[label] += 1
            soft_tp[label] += p
            soft_union[label] += p
        else:
            for c in (label, predicted):
                union[c] += 1
                soft_union[c] += 1 - p
    present = sorted(set(labels.tolist()))
    return {
        "ms_leep": ms_leep,
        "e_leep": e_leep,
        "iou_eep": sum(tp[c] / union[c] for c in present) / len(present),
        "soft_iou_eep": sum(soft_tp[c] / soft_union[c] if soft_tp[c] else 0.0 for c in present) / len(present),
        "accuracy_eep": sum(tp) / pixels,
        "soft_accuracy_eep": soft,
    }


def problem(
    members: int, pixels: int, classes: int, dtype: Any = np.float32, seed: int = 0, kind: str = "random"
) -> tuple[Numbers, Numbers]:
    """Predictions and labels; the highest class and one other occur in no label.

    ``ties``: multiples of 1/8, so that sums are exact and often equal. ``zeros``: half of the predictions are 0, some
    pixels of a member wholly. ``tiny``: powers of ten down to the smallest there are.
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, max(1, classes - 1), pixels)
    labels[labels == 1] = 0
    noise = generator.dirichlet(np.ones(classes), size=(members, pixels))
    skill = np.linspace(0.05, 0.5, members)[:, None, None]
    eeps = skill * np.eye(classes)[labels] + (1 - skill) * noise
    if kind == "ties":
        eeps = generator.integers(0, 9, eeps.shape) / 8
    elif kind == "zeros":
        eeps *= generator.random(eeps.shape) < 0.5
        eeps[generator.random((members, pixels)) < 0.2] = 0.0
    elif kind == "tiny":
        eeps = 10.0 ** generator.uniform(-44 if dtype == np.float32 else -310, 0, eeps.shape)
    return eeps.astype(dtype), labels


def assert_same(found: Ranking, expected: Ranking, tolerance: float = 1e-9) -> None:
    """Counts are exact; sums are to the tolerance."""
    np.testing.assert_array_equal(found.members, expected.members)
    for metric, values in expected.scores.items():
        np.testing.assert_allclose(
            found.scores[metric],
            values,
            rtol=1e-14 if metric in ("iou_eep", "accuracy_eep") else tolerance,
            atol=1e-11,
            err_msg=metric,
        )


@pytest.fixture
def pool() -> tuple[Numbers, Numbers]:
    """Five members of different quality, four classes of which the labels lack number 2."""
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 1, 3], size=80, p=[0.5, 0.3, 0.2])
    noise = generator.dirichlet(np.ones(4), size=(5, 80))
    skill = np.linspace(0.1, 0.5, 5)[:, None, None]
    return skill * np.eye(4)[labels] + (1 - skill) * noise, labels


@pytest.mark.parametrize("kind", ["random", "ties", "zeros", "tiny"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_agrees_with_slow_version(size: int, dtype: Any, kind: str) -> None:
    eeps, labels = problem(6, 101, 5, dtype, seed=size, kind=kind)
    ranking = score_ensembles(
        PredictionStore.of(eeps, labels, chunk_pixels=60), labels[draw_order(labels, 0, 60)], size, ENSEMBLE_METRICS
    )
    assert ranking.members.tolist() == [list(row) for row in combinations(range(6), size)]
    assert tuple(ranking.scores) == ENSEMBLE_METRICS
    assert ranking.fraction == 1
    for row, members in enumerate(ranking.members.tolist()):
        for metric, expected in slow_scores(eeps, labels, members).items():
            tolerance = 1e-12 if metric in ("iou_eep", "accuracy_eep") else 1e-9
            assert ranking.scores[metric][row] == pytest.approx(expected, rel=tolerance, abs=1e-11), (metric, members)


@pytest.mark.parametrize(("members", "pixels", "classes", "size"), [
    (40, 900, 3, 2),  # more members than are taken together
    (37, 300, 7, 3),
    (9, 700, 150, 3),  # more outcome codes than fit in 8 bits
    (9, 260, 128, 8),
    (5, 1, 2, 3),
    (3, 15, 1, 2),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["random", "ties"])
def test_equals_the_metric_of_each_candidate(members: int, pixels: int, classes: int, size: int, kind: str) -> None:
    eeps, labels = problem(members, pixels, classes, kind=kind)
    ranking = score_ensembles(eeps, labels, size, ENSEMBLE_METRICS)
    for row in np.random.default_rng(0).permutation(len(ranking))[:60]:
        for metric, values in ranking.scores.items():
            expected = METRICS[metric].function(eeps[ranking.members[row]], labels)
            tolerance = 1e-14 if metric in ("iou_eep", "accuracy_eep") else 1e-9
            assert values[row] == pytest.approx(expected, rel=tolerance, abs=1e-11), (metric, ranking.members[row])


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_one_metric_alone_scores_as_among_others(pool: Any, metric: str) -> None:
    alone, together = score_ensembles(*pool, metrics=(metric,)), score_ensembles(*pool, metrics=ENSEMBLE_METRICS)
    np.testing.assert_array_equal(alone.scores[metric], together.scores[metric])


@pytest.mark.parametrize("kind", ["random", "ties", "zeros", "tiny"])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_tiles_for_other_devices_score_alike(size: int, kind: str) -> None:
    eeps, labels = problem(7, 150, 6, np.float32 if size % 2 else np.float64, kind=kind)
    expected, works = score_ensembles(eeps, labels, size, COMPILED), []
    # Few pixels at a time, and a number that is no multiple of anything.
    scores = score_tiles(members_of(eeps, labels), expected.members, COMPILED, works.append, 7 * 6 * 47)
    assert_same(Ranking(expected.members, {metric: scores[metric] for metric in expected.scores}), expected)
    assert sum(works) == pytest.approx(len(expected))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["random", "ties"])
def test_scores_alike_on_a_gpu(kind: str) -> None:
    eeps, labels = problem(12, 5000, 21, kind=kind)
    on_gpu = score_ensembles(torch.from_numpy(eeps).cuda(), torch.from_numpy(labels).cuda())
    assert_same(on_gpu, score_ensembles(eeps, labels))


def test_result_has_the_promised_types(pool: Any) -> None:
    eeps, labels = pool
    ranking = score_ensembles(torch.from_numpy(eeps).half(), torch.from_numpy(labels))
    assert ranking.members.dtype == np.int64
    assert ranking.members.shape == (10, 3)
    assert all(values.dtype == np.float64 and values.shape == (10,) for values in ranking.scores.values())


def test_sequence_of_members_equals_stack(pool: Any) -> None:
    eeps, labels = pool
    stacked, listed = score_ensembles(eeps, labels), score_ensembles(list(torch.from_numpy(eeps)), labels)
    for metric, values in stacked.scores.items():
        np.testing.assert_array_equal(values, listed.scores[metric])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_threads_do_not_matter(size: int) -> None:
    eeps, labels = problem(9, 2000, 4)
    rankings = [score_ensembles(eeps, labels, size, ENSEMBLE_METRICS, threads=threads) for threads in (1, 2, 5)]
    for metric in ENSEMBLE_METRICS:
        for ranking in rankings[1:]:
            np.testing.assert_array_equal(ranking.scores[metric], rankings[0].scores[metric])


def test_store_on_disk_scores_as_arrays(tmp_path: Path) -> None:
    eeps, labels = problem(8, 500, 5)
    with StoreWriter(tmp_path / "store", labels, 5) as writer:
        for eep in eeps:
            writer.add(eep)
    store = PredictionStore.open(tmp_path / "store")
    found = score_ensembles(store, store.labels, metrics=ENSEMBLE_METRICS)
    expected = score_ensembles(eeps, labels, metrics=ENSEMBLE_METRICS)
    for metric in ENSEMBLE_METRICS:
        np.testing.assert_array_equal(found.scores[metric], expected.scores[metric])
    with pytest.raises(ValueError, match=r"`labels` to be the store's own, in its order"):
        score_ensembles(store, labels)


def test_several_passes_score_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    eeps, labels = problem(12, 300, 4)
    expected, told = score_ensembles(eeps, labels, 4, COMPILED), []
    monkeypatch.setattr(exhaustive, "TABLE_BYTES", 100 * 12 * 8)  # a hundred of the 495 candidates
    found = score_ensembles(eeps, labels, 4, COMPILED, progress=lambda done, _: told.append(done))
    for metric in COMPILED:
        np.testing.assert_array_equal(found.scores[metric], expected.scores[metric])
    assert told[-1] == 495
    assert told == sorted(told)


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> str:
    """A metric with an accumulator of its own."""

    class Distances(Accumulator):
        def init(self, candidates: int, num_classes: int, device: torch.device) -> torch.Tensor:
            return torch.zeros(candidates, dtype=torch.float64, device=device)

        def update(self, state: torch.Tensor, block: EnsembleBlock) -> None:
            state += (block.candidates[:, -1] - block.candidates[:, 0]) * len(block.labels)

    definition = Definition(Distances(), lambda state, counts: state / counts.sum(dim=-1))
    monkeypatch.setitem(METRICS, "spread", Metric.of_ensembles("spread", "Spread", definition, larger_is_better=False))
    return "spread"


def test_metric_without_loops_of_its_own(spread: str) -> None:
    told: list[tuple[int, int]] = []
    eeps, labels = problem(5, 40, 3)
    ranking = score_ensembles(
        eeps, labels, 2, (spread, "e_leep"), progress=lambda done, total: told.append((done, total))
    )
    assert list(ranking.scores) == ["spread", "e_leep"]
    assert ranking.scores["spread"].tolist() == [float(a - b) for a, b in ranking.members]
    np.testing.assert_array_equal(ranking.scores["e_leep"], score_ensembles(eeps, labels, 2).scores["e_leep"])
    assert told[-1] == (10, 10)


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Presses Ctrl-C once, wherever the tests were started."""
    before, pressed = signal.signal(signal.SIGINT, signal.default_int_handler), threading.Event()

    def press() -> None:
        if not pressed.is_set():
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)

    yield press
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_interrupt_leaves_what_was_computed(ctrl_c: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustive, "_PART_SECONDS", 0.0)
    eeps, labels = problem(8, 1000, 4)
    store = PredictionStore.of(eeps, labels, chunk_pixels=200)

    def press(done: int, total: int) -> None:
        if done > 0.5 * total:
            ctrl_c()

    cancel = CancelToken()
    with set_by_interrupt(cancel):
        partial = score_ensembles(store, store.labels, progress=press, cancel=cancel)
    assert partial.fraction == 0.6
    seen = store.order[:600]
    assert_same(partial, score_ensembles(eeps[:, seen], labels[seen]))


def test_cancelled_by_the_one_who_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustive, "_PART_SECONDS", 0.0)

    cancel = CancelToken()
    eeps, labels = problem(8, 1000, 4)
    ranking = score_ensembles(eeps, labels, progress=lambda *_: cancel.set(), cancel=cancel)
    assert ranking.fraction == 0.256


def test_without_a_token_an_interrupt_stops(ctrl_c: Callable[[], None]) -> None:
    with pytest.raises(KeyboardInterrupt):
        score_ensembles(*problem(8, 1000, 4), progress=lambda *_: ctrl_c())


def test_metrics_that_were_not_begun_are_left_out(spread: str) -> None:
    eeps, labels = problem(5, 40, 3)
    cancel = CancelToken()
    cancel.set()
    with pytest.raises(Cancelled):
        score_ensembles(eeps, labels, 2, (spread,), cancel=cancel)
    whole, cancel = score_ensembles(eeps, labels, 2, ("e_leep",)), CancelToken()
    both = score_ensembles(
        eeps,
        labels,
        2,
        ("e_leep", spread),
        progress=lambda done, _: cancel.set() if done > 5 else None,
        cancel=cancel,
    )
    assert both.fraction == 1
    assert both.scores.keys() == whole.scores.keys()
    np.testing.assert_array_equal(both.scores["e_leep"], whole.scores["e_leep"])


def test_interrupt_before_anything_is_computed(ctrl_c: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    store = PredictionStore.of(*problem(8, 1000, 4))
    read = store.block

    def press(pixels: slice) -> Numbers:
        ctrl_c()
        return read(pixels)

    monkeypatch.setattr(store, "block", press)
    cancel = CancelToken()
    with set_by_interrupt(cancel), pytest.raises(Cancelled):
        score_ensembles(store, store.labels, cancel=cancel)
    assert cancel.is_set


def test_trouble_in_a_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    store = PredictionStore.of(*problem(8, 1000, 4))

    def fail(_: slice) -> Numbers:
        raise SelectionError("the disk is gone")

    monkeypatch.setattr(store, "block", fail)
    with pytest.raises(SelectionError, match="the disk is gone"):
        score_ensembles(store, store.labels)


def test_long_preparation_is_announced(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(compiling, "_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(exhaustive, "_compile_products", lambda _: time.sleep(0.3))
    score_ensembles(*problem(4, 20, 3), metrics=["e_leep"])
    assert "Preparing the scoring loops" in caplog.text


def test_kernels_and_tally_agree_on_the_histogram() -> None:
    assert (exhaustive_kernels.COUNT_BIT, exhaustive_kernels.COUNT_LIMIT) == (
        fixed_point.COUNT_BIT,
        fixed_point.COUNT_LIMIT,
    )
    assert exhaustive._RUN <= fixed_point.COUNT_LIMIT
    for size in range(1, 9):
        scale = fixed_point.fixed_point_scale(size, fixed_point.COUNT_LIMIT, 10**6)
        assert fixed_point.COUNT_LIMIT * (2**52 + size * 1.02 * scale) < 2**63
        assert fixed_point.COUNT_LIMIT * size * 1.02 * scale <= 2**52
        assert 10**6 * size * 1.02 * scale < 2**63
        assert scale >= 2**36  # finer than any sum needs


def test_entries_are_unpacked_before_they_are_full() -> None:
    eeps, labels = problem(5, 3 * fixed_point.COUNT_LIMIT, 2, seed=3)
    ranking = score_ensembles(eeps, labels)
    for row, members in enumerate(ranking.members.tolist()):
        for metric, values in ranking.scores.items():
            assert values[row] == pytest.approx(METRICS[metric].function(eeps[members], labels), rel=1e-6), metric


def test_better_members_rank_higher(pool: Any) -> None:
    eeps, labels = pool
    perfect, useless = np.eye(4)[labels], np.full((80, 4), 0.25)
    ranking = score_ensembles([useless, eeps[2], perfect], labels, 1, ENSEMBLE_METRICS)
    for metric in ENSEMBLE_METRICS:
        assert ranking.order(metric).tolist() == [2, 1, 0], metric


@pytest.mark.parametrize("metrics", [("ms_leep",), ("e_leep",), ENSEMBLE_METRICS])
def test_progress_is_told(metrics: tuple[str, ...]) -> None:
    calls: list[tuple[int, int]] = []
    eeps, labels = problem(20, 3000, 4)
    store = PredictionStore.of(eeps, labels, chunk_pixels=500)
    score_ensembles(store, store.labels, metrics=metrics, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) >= 6
    assert calls == sorted(set(calls))
    assert {total for _, total in calls} == {1140}
    assert calls[-1] == (1140, 1140)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 6}, r"`size` between 1 and the 5 members there are, but got 6"),
        ({"threads": 0}, r"`threads` to be at least 1, but got 0"),
        ({"size": 0}, r"`size` between 1 and the 5 members there are, but got 0"),
        ({"metrics": ("e_lep",)}, r"Unknown ensemble metric 'e_lep'. Did you mean 'e_leep'\?"),
        ({"metrics": ("base",)}, r"Unknown ensemble metric 'base'"),
        ({"metrics": ()}, r"`metrics` to be a list of at least one name"),
        ({"metrics": "e_leep"}, r"`metrics` to be a list of at least one name, but got 'e_leep'"),
    ],
)
def test_bad_options(pool: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_ensembles(*pool, **options)


def test_bad_arrays(pool: Any) -> None:
    eeps, labels = pool
    broken = eeps.copy()
    broken[3, 7, 1] = np.nan
    with pytest.raises(ValueError, match=r"`eeps\[3\]` to hold probabilities between 0 and 1, but got NaN"):
        score_ensembles(broken, labels)
    with pytest.raises(ValueError, match=r"`labels` between 0 and 3, but got 0 to 255"):
        score_ensembles(eeps, np.where(labels == 3, 255, labels))
    with pytest.raises(ValueError, match=r"`labels` to have shape \[80\]"):
        inspect.unwrap(score_ensembles)(eeps, labels[1:])


def test_candidates_of_every_size() -> None:
    for size in range(1, 6):
        assert list_candidates(5, size).shape == (math.comb(5, size), size)
    assert list_candidates(4, 3).tolist() == [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]


def test_order_breaks_ties_by_row_or_by_name() -> None:
    ranking = Ranking(list_candidates(3, 2), {"e_leep": np.array([-1.0, -0.5, -1.0])})  # {0,1}, {0,2}, {1,2}
    assert ranking.order("e_leep").tolist() == [1, 0, 2]
    assert ranking.order("e_leep", names=["a", "b", "c"]).tolist() == [1, 0, 2]
    # Sorted names of the tied rows: {z, b} -> b z, {b, a} -> a b, which comes first.
    assert ranking.order("e_leep", names=["z", "b", "a"]).tolist() == [1, 2, 0]


def test_with_scores_leaves_the_original() -> None:
    ranking = Ranking(list_candidates(3, 2), {"e_leep": np.zeros(3)})
    wider = ranking.with_scores("base", np.array([1.0, 3.0, 2.0]))
    assert list(ranking.scores) == ["e_leep"]
    assert wider.order("base").tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda r: r.order("e_lep"), r"Unknown metric of this ranking 'e_lep'. Did you mean 'e_leep'\?"),
        (lambda r: r.order("e_leep", names=["a", "b"]), r"at least 3 different names"),
        (lambda r: r.order("e_leep", names=["a", "b", "b"]), r"at least 3 different names"),
        (lambda r: inspect.unwrap(type(r).with_scores)(r, "x", np.zeros(2)), r"Expected 3 scores of 'x'"),
        (lambda r: r.with_scores("x", np.array([0.0, np.nan, 0.0])), r"'x', but that of members \[0, 2\] is nan"),
        (lambda r: Ranking(r.members[0], {}), r"candidates x size, but got shape \[2\]"),
        (lambda r: Ranking(r.members[:0], {}), r"candidates x size, but got shape \[0, 2\]"),
    ],
)
def test_ranking_refuses(attempt: Callable[[Ranking], object], message: str) -> None:
    ranking = Ranking(list_candidates(3, 2), {"e_leep": np.zeros(3)})
    with pytest.raises(ValueError, match=message):
        attempt(ranking)
