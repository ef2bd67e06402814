"""Options that are wrong, do not go together or have no effect."""

from __future__ import annotations

from tests.odd_inputs.case import Case

CASES = [
    Case(
        "a mistyped option",
        lambda bench: ["select.py", "--sise", "3"],
        ("--sise",),
    ),
    Case(
        "a pool that is not there",
        lambda bench: bench.selecting(pool="nowhere", target=str(bench.dataset())),
        ("There is no pool nowhere",),
    ),
    Case(
        "an ensemble without images to predict",
        lambda bench: bench.finetuning("--ensemble", str(bench.stock / "run"), selection=""),
        ("--ensemble is what --predict predicts with",),
    ),
]
