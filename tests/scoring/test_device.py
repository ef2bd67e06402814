"""Scoring on devices: blocks, runs, fixed-point logs, and the backends of tensor operations, here on the CPU."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.ensemble_block import Members, members_of
from muster.scoring import score_ensembles
from muster.scoring.device.backends import backend_named, fastest_backend, objection
from muster.scoring.device.blocks import PIXEL_TILE, Block, LogScale, Runs, split_logs
from muster.scoring.device.exhaustive import score_tiles
from tests.scoring.compiled_metrics import COMPILED
from tests.scoring.test_score import problem

CPU = torch.device("cpu")
Numbers = np.ndarray[Any, Any]


def triples(num_members: int) -> Numbers:
    return np.array(list(combinations(range(num_members), 3)))


def score(members: Members, candidates: Numbers, **options: Any) -> dict[str, Numbers]:
    return score_tiles(members, candidates, COMPILED, lambda _: None, **options)


@pytest.mark.parametrize("kind", ["random", "ties", "tiny"])
def test_limits_of_memory_change_no_bit(kind: str) -> None:
    eeps, labels = problem(5, 40, 6, kind=kind)
    members, candidates = members_of(eeps, labels), triples(5)
    expected = score(members, candidates)
    for limits in ({"block_numbers": 5 * 6 * 17}, {"tile_numbers": 3 * 11}, {"block_numbers": 1}):
        for metric, values in score(members, candidates, **limits).items():
            np.testing.assert_array_equal(values, expected[metric], err_msg=f"{metric} {limits}")


def test_order_of_the_pixels_changes_no_bit() -> None:
    eeps, labels = problem(6, 200, 5)
    order = np.random.default_rng(0).permutation(200)
    expected, found = (
        score(members_of(*arrays), triples(6)) for arrays in ((eeps, labels), (eeps[:, order], labels[order]))
    )
    for metric, values in found.items():
        np.testing.assert_array_equal(values, expected[metric], err_msg=metric)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_as_promoted_to_float32(dtype: torch.dtype) -> None:
    eeps, labels = problem(6, 200, 5)
    stored = torch.from_numpy(eeps).to(dtype)
    halves = Members(list(stored), torch.from_numpy(labels), 5)
    expected = score_ensembles(stored.float(), labels, metrics=COMPILED)
    for metric, values in score(halves, expected.members).items():
        np.testing.assert_allclose(values, expected.scores[metric], rtol=1e-12, err_msg=metric)


def test_listed_candidates_score_as_among_all() -> None:
    eeps, labels = problem(9, 100, 4)
    members, everything = members_of(eeps, labels), triples(9)
    some = np.random.default_rng(0).permutation(len(everything))[:20]
    expected = score(members, everything)
    for metric, values in score(members, everything[some]).items():
        np.testing.assert_array_equal(values, expected[metric][some], err_msg=metric)


@pytest.mark.parametrize("metric", COMPILED)
def test_only_what_is_asked_for_is_scored(metric: str) -> None:
    members = members_of(*problem(5, 60, 4))
    alone = score_tiles(members, triples(5), [metric], lambda _: None)
    assert list(alone) == [metric]
    np.testing.assert_array_equal(alone[metric], score(members, triples(5))[metric])


def test_more_classes_than_are_compiled_together() -> None:
    eeps, labels = problem(5, 120, 70, kind="ties")
    expected = score_ensembles(eeps, labels, metrics=COMPILED)
    with torch.compiler.set_stance("force_eager"):
        for backend in ("torch", "compiled"):
            for metric, values in score(members_of(eeps, labels), expected.members, backend=backend).items():
                np.testing.assert_allclose(values, expected.scores[metric], rtol=1e-12, err_msg=metric)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_would_be_compiled_scores_alike(size: int, dtype: Any) -> None:
    eeps, labels = problem(6, 90, 4, dtype, kind="ties")
    members, candidates = members_of(eeps, labels), np.array(list(combinations(range(6), size)))
    expected = score(members, candidates, backend="torch")
    with torch.compiler.set_stance("force_eager"):  # the same functions, but by indices where others take views
        for metric, values in score(members, candidates, backend="compiled").items():
            np.testing.assert_array_equal(values, expected[metric], err_msg=metric)


@pytest.mark.slow
def test_compiled_code_scores_alike() -> None:
    # Pixels, members and classes all differ, so that the compiler takes no two sizes for the same.
    for shape in ((7, 300, 4), (9, 111, 4)):
        eeps, labels = problem(*shape, kind="ties")
        members, candidates = members_of(eeps, labels), triples(shape[0])
        expected = score(members, candidates, backend="torch")
        for metric, values in score(members, candidates, backend="compiled").items():
            tolerance = 1e-14 if metric == "e_leep" else 0  # the last digit of a log
            np.testing.assert_allclose(values, expected[metric], rtol=tolerance, err_msg=metric)
    assert objection("compiled", CPU, torch.float64) is None


def test_the_processor_needs_no_compiler() -> None:
    assert fastest_backend(CPU, torch.float32).name == "torch"
    assert objection("torch", CPU, torch.float32) is None


def test_kernels_are_refused_where_they_cannot_run() -> None:
    reason = objection("triton", CPU, torch.float32)  # no Triton, or no GPU for these tensors
    assert reason is not None
    assert ":" in reason


def test_unknown_backend() -> None:
    with pytest.raises(ValueError, match=r"Unknown backend 'tritn'.*triton"):
        backend_named("tritn")


@pytest.mark.parametrize("longest", [1, 3, 100])
def test_runs_cover_every_candidate_once(longest: int) -> None:
    everything = triples(8)
    for candidates in (everything, np.random.default_rng(1).permutation(everything)[:30], everything[:1]):
        runs = Runs.of(candidates, longest)
        assert runs.lengths.max() <= longest
        rows = [
            [*candidates[first, :-1], candidates[first, -1] + step]
            for first, length in zip(runs.firsts, runs.lengths, strict=True)
            for step in range(length)
        ]
        np.testing.assert_array_equal(rows, candidates)


@pytest.mark.parametrize("num_pixels", [1, 1000, 150_000])
def test_logs_in_fixed_point_add_up_to_the_last_digit(num_pixels: int) -> None:
    generator = np.random.default_rng(0)
    logs = np.log(10.0 ** generator.uniform(-307, 0, (3, num_pixels)))
    logs[1] = np.log1p(-(10.0 ** generator.uniform(-9, -1, num_pixels)))  # sums hardly below 0
    scale = LogScale.of(num_pixels)
    sums = split_logs(torch.from_numpy(logs), scale.high, scale.low)
    np.testing.assert_allclose(scale.value(sums), [math.fsum(row) for row in logs], rtol=1e-15)
    mixed = torch.from_numpy(generator.permutation(logs, axis=1))
    assert torch.equal(split_logs(mixed, scale.high, scale.low), sums)


def test_block_sorts_and_pads() -> None:
    eeps, labels = problem(3, 50, 4)
    block = Block.of(members_of(eeps, labels), slice(10, 40), 2.0**40, counted=True, by_label=True)
    order = 10 + np.argsort(labels[10:40], kind="stable")
    assert block.num_pixels == 30
    assert block.predictions is not None
    np.testing.assert_array_equal(block.labels[:30], labels[order])
    np.testing.assert_array_equal(block.predictions[:, :, :30], eeps[:, order].transpose(2, 0, 1))
    assert block.predictions.shape == (4, 3, PIXEL_TILE)
    assert set(block.labels[30:].tolist()) == {labels[order[-1]]}
    assert not block.predictions[:, :, 30:].any()
    assert not block.likelihoods[:, 30:].any()
