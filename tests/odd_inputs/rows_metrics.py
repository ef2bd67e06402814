"""Metrics by odd names, with odd wrappers, or asked of members and targets that do not allow them."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from muster.selection.record import Selection
from tests.odd_inputs.bench import Bench
from tests.odd_inputs.case import Case


def _stock(bench: Bench, *more: str) -> list[str]:
    """Choose from the stock's pool for the stock's dataset."""
    return bench.selecting(*more, target=str(bench.stock / "tiny"))


def _with_copies(bench: Bench) -> Path:
    """A pool in which every member comes twice, byte by byte, under another name."""
    pool = bench.pool()
    for name in "abcd":
        twin = Path(shutil.copytree(pool / "members" / name, pool / "members" / f"{name}2"))
        card = yaml.safe_load((twin / "card.yaml").read_text("utf-8"))
        (twin / "card.yaml").write_text(yaml.safe_dump(card | {"name": f"{name}2"}), "utf-8")
    return pool


def _names_the_first_of_equals(bench: Bench) -> None:
    selection = Selection.load(bench.home / "chosen")
    assert not any(name.endswith("2") for name in selection.members) or {
        name.removesuffix("2") for name in selection.members
    } == {selection.members[0]}
    assert not selection.single_best.endswith("2")
    assert selection.margin is not None
    assert selection.margin >= 0


def _depths_count(bench: Bench) -> None:
    """Scores by depth alone: layers + log of images, standardised, plus layers / l_max."""
    scores = Selection.load(bench.home / "chosen").single_scores["depth_and_size+l"]
    assert max(scores.values()) > 1000


CASES = [
    Case(
        "a metric that is nearly one",
        lambda bench: _stock(bench, "--metric", "softiou_eep"),
        ("metric: Unknown metric 'softiou_eep'", "Did you mean 'soft_iou_eep'?"),
    ),
    Case(
        "a metric in capitals",
        lambda bench: _stock(bench, "--metric", "LEEP"),
        ("Unknown metric 'LEEP'", "leep"),
    ),
    Case(
        "a wrapper without its number",
        lambda bench: _stock(bench, "--metric", "logme+pca"),
        ("Metric 'logme+pca'", "Unknown wrapper 'pca'"),
    ),
    Case(
        "a wrapper twice",
        lambda bench: _stock(bench, "--metric", "logme+pca8+pca9"),
        ("wraps twice in the same way",),
    ),
    Case(
        "principal components of what has no features",
        lambda bench: _stock(bench, "--metric", "leep+pca8"),
        ("'+pca' reduces features of the target", "'leep'"),
    ),
    Case(
        "a depth that counts as nothing",
        lambda bench: _stock(bench, "--metric", "depth_and_size+l", "--l_max", "0"),
        ("l_max: expected a positive number of layers, but got 0",),
    ),
    Case(
        "a depth that no metric looks at",
        lambda bench: _stock(bench, "--l_max", "30"),
        ("--l_max has no effect without +l",),
    ),
    Case(
        "a depth so small that only depth counts",
        lambda bench: _stock(bench, "--metric", "depth_and_size+l", "--l_max", "0.01"),
        ("Depth + log size + l",),
        status=0,
        result=_depths_count,
    ),
    Case(
        "a metric that compares with a model that nobody has",
        lambda bench: _stock(bench, "--metric", "dds+pca2"),
        ("dds+pca2 compare with a model trained on the target", "--reference"),
    ),
    Case(
        "a reference that was trained on something else",
        lambda bench: _stock(bench, "--metric", "rsa", "--reference", str(bench.stock / "pool" / "members" / "a")),
        ("reference:", "was trained on elsewhere, not tiny"),
    ),
    Case(
        "transport without samples of the sources",
        lambda bench: _stock(bench, "--metric", "otce"),
        ("otce compare with the members' own source images", "a, b, c, d carry no sample"),
    ),
    Case(
        "fewer images than a metric of images needs",
        lambda bench: bench.selecting("--metric", "parc", target=str(bench.dataset(images=2))),
        ("Metric 'parc' cannot be chosen by", "at least 3 samples"),
    ),
    Case(
        "copies of every member",
        lambda bench: bench.selecting(pool=str(_with_copies(bench)), target=str(bench.stock / "tiny")),
        ("The chosen 2 of 8, by SoftIoU-EEP:",),
        status=0,
        result=_names_the_first_of_equals,
    ),
    Case(
        "copies of every member, raced",
        lambda bench: bench.selecting(
            "--search", "racing", pool=str(_with_copies(bench)), target=str(bench.stock / "tiny")
        ),
        ("The chosen 2 of 8, by SoftIoU-EEP:",),
        status=0,
        result=_names_the_first_of_equals,
    ),
    Case(
        "a search that does not go with the metric",
        lambda bench: _stock(bench, "--metric", "logme", "--search", "greedy"),
        ("search: 'greedy' can choose by ms_leep, e_leep, iou_eep, soft_iou_eep, accuracy_eep", "'logme'"),
    ),
    Case(
        "more principal components than there are",
        lambda bench: _stock(bench, "--metric", "logme+pca4000"),
        ("by LogME, f=4000:",),
        status=0,
    ),
]
