"""The Triton kernels: run by Triton's interpreter, compiled for a GPU that need not be there, and run on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from muster.metrics.ensemble_block import Members
from muster.scoring import score_ensembles
from muster.scoring.device.exhaustive import BLOCK_NUMBERS, score_tiles
from tests.scoring.compiled_metrics import COMPILED
from tests.scoring.test_score import problem

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton, which this platform has not")

Problem = tuple[Tensor, Tensor, Tensor, int]

SUM_TYPES = {"fp32": "float32", "fp64": "float64", "bf16": "float32", "fp16": "float32"}


def a_problem(
    *shape: int, size: int, kind: str = "ties", dtype: torch.dtype = torch.float32, blocks: int = 1, every: int = 1
) -> Problem:
    """Of members, pixels and classes; ``every``: some of the candidates in a mixed order; ``blocks``: of pixels."""
    exact = np.float64 if dtype == torch.float64 else np.float32
    eeps, labels = problem(*shape, exact, seed=size, kind=kind)
    candidates = np.array(list(combinations(range(shape[0]), size)))
    if every > 1:
        candidates = np.random.default_rng(0).permutation(candidates)[::every]
    numbers = BLOCK_NUMBERS if blocks == 1 else -(-shape[1] // blocks) * shape[0] * shape[2]
    return torch.from_numpy(eeps).to(dtype), torch.from_numpy(labels), torch.from_numpy(candidates), numbers


PROBLEMS = {
    "one_member_of_one": a_problem(1, 40, 3, size=1),
    "one_pixel": a_problem(3, 1, 4, size=2, kind="random"),
    "one_class": a_problem(3, 20, 1, size=2),
    "single_members": a_problem(6, 256, 5, size=1, kind="random"),
    "pairs_float64": a_problem(6, 300, 6, size=2, dtype=torch.float64),
    "triples": a_problem(6, 300, 5, size=3),
    "triples_random": a_problem(6, 520, 5, size=3, kind="random"),
    "triples_zeros": a_problem(5, 90, 5, size=3, kind="zeros"),
    "triples_tiny": a_problem(5, 90, 5, size=3, kind="tiny"),
    "triples_tiny_float64": a_problem(5, 90, 5, size=3, kind="tiny", dtype=torch.float64),
    "triples_bfloat16": a_problem(5, 270, 5, size=3, kind="random", dtype=torch.bfloat16),
    "triples_float16": a_problem(5, 270, 5, size=3, kind="random", dtype=torch.float16),
    "five_members": a_problem(7, 100, 4, size=5, kind="random"),
    "seven_members": a_problem(8, 100, 4, size=7),
    "two_hundred_classes": a_problem(4, 300, 200, size=3, kind="random"),
    "listed_candidates": a_problem(7, 100, 4, size=3, every=3),
    "several_blocks": a_problem(5, 700, 4, size=3, blocks=3),
}


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Scores of all problems by Triton's interpreter."""
    folder = tmp_path_factory.mktemp("interpreted")
    torch.save(PROBLEMS, folder / "problems.pt")
    program = Path(__file__).with_name("interpreted_kernels.py")
    command = [sys.executable, str(program), str(folder / "problems.pt"), str(folder / "scores.pt")]
    run = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = torch.load(folder / "scores.pt", weights_only=True)
    return found


@pytest.mark.parametrize("name", PROBLEMS)
def test_kernels_score_as_the_definition(interpreted: dict[str, Any], name: str) -> None:
    predictions, labels, candidates, _ = PROBLEMS[name]
    everything = score_ensembles(predictions, labels, candidates.shape[1], COMPILED)
    places = {tuple(row): place for place, row in enumerate(everything.members.tolist())}
    rows = [places[tuple(row)] for row in candidates.tolist()]
    for metric, values in everything.scores.items():
        found, expected = interpreted[name][metric].numpy(), values[rows]
        known = ~np.isnan(found) if metric == "soft_iou_eep" else np.ones(len(rows), dtype=bool)  # NaN: too coarse
        tolerance = 1e-14 if metric in ("iou_eep", "accuracy_eep") else 1e-9 if "tiny" in name else 1e-12
        np.testing.assert_allclose(found[known], expected[known], rtol=tolerance, atol=1e-13, err_msg=metric)
    assert interpreted[name]["told"] == pytest.approx(len(rows))


@pytest.mark.parametrize("name", PROBLEMS)
def test_kernels_and_tensor_operations_add_the_same_integers(interpreted: dict[str, Any], name: str) -> None:
    predictions, labels, candidates, _ = PROBLEMS[name]
    members = Members(list(predictions), labels, predictions.shape[2])
    expected = score_tiles(members, candidates.numpy(), COMPILED, lambda _: None, backend="torch")
    for metric, values in expected.items():
        found = interpreted[name][metric].numpy()
        if metric == "e_leep":  # the same but for the last digit of a log
            np.testing.assert_allclose(found, values, rtol=1e-14)
        else:
            np.testing.assert_array_equal(found, values, err_msg=metric)


def test_nothing_speaks_against_kernels_that_work(interpreted: dict[str, Any]) -> None:
    assert interpreted["objection"] is None


@pytest.mark.parametrize("stored", SUM_TYPES)
def test_counts_compile_for_a_gpu_without_spills(stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton import language as tl

    pointers = dict.fromkeys(("labels", "likelihoods", "counts", "totals"), "*i64")
    pointers |= {"predictions": f"*{stored}", "candidates": "*i32", "runs": "*i32"}
    constants = {"SIZE": 3, "SUM_TYPE": getattr(tl, SUM_TYPES[stored]), "COUNT_BIT": 52}
    assert spilled_bytes("count_outcomes", pointers, constants, tmp_path, monkeypatch) == 0


def test_logs_compile_for_a_gpu_without_spills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pointers = {"true_probabilities": "*fp64", "candidates": "*i32", "runs": "*i32", "highs": "*i64", "lows": "*i64"}
    pointers["constants"] = "*fp64"
    assert spilled_bytes("add_logs", pointers, {"SIZE": 3}, tmp_path, monkeypatch) == 0


def spilled_bytes(
    name: str,
    pointers: dict[str, str],
    constants: dict[str, Any],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """Compile a kernel for an H100; how much of its registers it keeps in memory."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from muster.scoring.device import triton_backend

    monkeypatch.setenv("TRITON_CACHE_DIR", str(cache))
    kernel = getattr(triton_backend, name)
    constants = constants | {"LONGEST_RUN": triton_backend.LONGEST_RUN, "PIXEL_TILE": triton_backend.PIXEL_TILE}
    signature = {
        argument: "constexpr" if argument in constants else pointers.get(argument, "i32")
        for argument in kernel.arg_names
    }
    aligned = {(kernel.arg_names.index(argument),): [["tt.divisibility", 16]] for argument in (*pointers, "width")}
    source = ASTSource(kernel, signature, constants, aligned)
    binary = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": triton_backend.WARPS})
    (cache / "kernel.cubin").write_bytes(binary.asm["cubin"])
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    usage = subprocess.run(
        [tools / "cuobjdump", "-res-usage", cache / "kernel.cubin"], capture_output=True, text=True, check=True
    ).stdout
    words = dict(word.split(":") for word in usage.split() if word.count(":") == 1 and word[-1].isdigit())
    return int(words["STACK"]) + int(words["LOCAL"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("backend", ["triton", "compiled", "torch"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_backend_scores_alike_on_a_gpu(name: str, backend: str) -> None:
    predictions, labels, candidates, numbers = PROBLEMS[name]
    expected, found = (
        score_tiles(
            Members(list(predictions.to(device)), labels.to(device), predictions.shape[2]),
            candidates.numpy(),
            COMPILED,
            lambda _: None,
            numbers,
            backend=way,
        )
        for device, way in (("cpu", "torch"), ("cuda", backend))
    )
    for metric, values in expected.items():
        tolerance = 1e-12 if metric.endswith("_leep") else 0
        np.testing.assert_allclose(found[metric], values, rtol=tolerance, err_msg=metric)
