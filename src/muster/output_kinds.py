"""The kinds of folders that muster writes: what each may hold, and by what one without a marker is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Evidence: TypeAlias = Mapping[str, tuple[str, ...]]
"""Files that must be there, as patterns, each with keys that the YAML mapping in it must have; none: any content."""


@dataclass(frozen=True)
class OutputKind:
    """A kind of folder that muster writes.

    Attributes:
        name: What the marker says.
        title: What messages call it, with its article.
        evidence: What shows that a folder without a marker is one: any of these, each sufficient by itself.
        files: Names, as patterns, of all that it may hold if it is replaced as a whole; empty if files are replaced one
            by one.
        kept: What is not lost when writing fails, as a sentence.
    """

    name: str
    title: str
    evidence: tuple[Evidence, ...] = ()
    files: tuple[str, ...] = ()
    kept: str = ""


# An unfinished fit, as it was described before there was a marker.
_FIT = {"work/job.yaml": ("settings", "images", "statistics", "members")}
_GOES_ON = "What was written before is kept: once that is mended, the same command goes on from the last checkpoint."

POOL = OutputKind(
    "pool",
    "a pool",
    ({"config.yaml": ("plan", "training")}, {"members/*/card.yaml": ("format_version", "architecture", "checksum")}),
    kept="Finished members are kept: once that is mended, the same command trains the others.",
)
MEMBER = OutputKind(
    "member",
    "a member of a pool",
    # One without its card was damaged, and is trained anew.
    ({"card.yaml": ("format_version", "architecture")}, {"model.safetensors": ()}, {"source_sample.safetensors": ()}),
    ("card.yaml", "model.safetensors", "source_sample.safetensors", "history.csv", "README.md"),
)
SELECTION = OutputKind(
    "selection",
    "a selection",
    ({"selection.yaml": ("format_version", "target", "metric", "members")},),
    ("selection.yaml", "ranking.parquet", "report.html", "figures", "config.yaml", "splits.yaml", "logs", "work"),
    "An older selection there is as it was, and predictions that the cache took are kept.",
)
FINETUNING = OutputKind(
    "finetuning",
    "a fine-tuned ensemble",
    ({"result.yaml": ("target", "members", "single_best"), "config.yaml": ("training",)}, _FIT),
    kept=_GOES_ON,
)
ENSEMBLE = OutputKind(
    "ensemble",
    "an ensemble",
    ({"ensemble.yaml": ("format_version", "members", "checksums")},),
    ("ensemble.yaml", "head.safetensors", "member_*.safetensors", "README.md"),
)
DISTILLATION = OutputKind(
    "distillation",
    "what an ensemble was brought down to",
    ({"distillation.yaml": ("target", "models", "train_images")},),
    kept=_GOES_ON,
)
PREDICTIONS = OutputKind("predictions", "predictions", kept="Masks and overlays that were written before are kept.")
STORE = OutputKind(
    "store",
    "a store of predictions",
    ({"store.yaml": ("format_version", "num_members", "num_pixels")},),
    ("store.yaml", "labels.npy", "order.npy", "*.predictions", "*.true_class"),
)
STUDY = OutputKind(
    "study",
    "a study",
    ({"config.yaml": ("pools", "targets", "regimes")}, {"cells/*/cell.yaml": ("format_version", "target", "regime")}),
    kept="What was found before is kept: once that is mended, the same command goes on.",
)
CHECK = OutputKind(
    "check",
    "a check of a dataset",
    ({"check.yaml": ("dataset", "splits", "problems")},),
    ("check.yaml", "contact_sheet.png", "examples.txt", "splits.yaml", "config.yaml"),
)
RECIPES = OutputKind(
    "recipes",
    "a comparison of recipes",
    ({"config.yaml": ("recipes", "targets"), "recipes.csv": (), "recipes.md": ()},),
    kept=_GOES_ON,
)
PRETRAINING = OutputKind(
    "pretraining",
    "weights that were pre-trained",
    ({"pretraining.yaml": ("method", "architecture", "datasets", "sha256")}, {"work/job.yaml": ("pretraining",)}),
    kept=_GOES_ON,
)
KINDS = (
    POOL,
    MEMBER,
    SELECTION,
    FINETUNING,
    ENSEMBLE,
    DISTILLATION,
    PREDICTIONS,
    STORE,
    STUDY,
    CHECK,
    RECIPES,
    PRETRAINING,
)
"""All of them."""
