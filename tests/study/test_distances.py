"""Which datasets of members are at hand, and whose features they are compared by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muster.data import open_dataset
from muster.files import write_yaml
from muster.pool import Member, SourceRecord
from muster.study.distances import network_for_distances
from muster.study.source_datasets import source_datasets
from tests.data.spec_writers import WRITERS
from tests.helpers import make_member
from tests.odd_inputs.bench import write_dataset


def member_of(pool: Path, name: str, *sources: str, **card: object) -> Member:
    """A member of a source, or of several."""
    made = make_member(pool, name, 0, dataset=sources[0])
    records = [SourceRecord(each, "made up", 2, 5, 5, 0.3, 0.1, (0.5,) * 3, (0.2,) * 3) for each in sources]
    several = tuple(records) if len(records) > 1 else ()
    return replace(made, card=replace(made.card, sources=several, **card))  # type: ignore[arg-type]


def test_sources_are_found_where_targets_and_pools_say(tmp_path: Path) -> None:
    target = open_dataset(str(write_dataset(tmp_path / "targets" / "tiny")))
    beside = open_dataset(str(write_dataset(tmp_path / "targets" / "beside", size=40)))
    trained = open_dataset(str(write_dataset(tmp_path / "rooted" / "rooted", size=48)))
    write_dataset(tmp_path / "targets" / "other", size=56)  # not the one that the member saw
    pool = tmp_path / "pool"
    made = [make_member(pool, f"of {data.spec.name}", 0, trained_on=data) for data in (target, beside, trained)]
    made += [make_member(pool, f"of {name}", 0, dataset=name) for name in ("gone", "other")]
    made.append(member_of(pool, "of worlds", "reef", "attic", contents=()))
    write_yaml(pool / "config.yaml", {"data_root": str(tmp_path / "rooted")})
    found, missing = source_datasets(made, {"tiny": target}, None, [pool, tmp_path / "no pool"])
    assert {name: dataset.reference for name, dataset in found.items()} == {
        "attic": "worlds/attic",
        "beside": beside.reference,
        "reef": "worlds/reef",
        "rooted": trained.reference,
    }
    assert list(missing) == ["gone", "other"]
    assert missing["other"].endswith("other is another dataset")
    assert "no folder of that name" in missing["gone"]
    assert source_datasets(made[3:4], {})[1]["gone"].endswith("give --data_root")


@pytest.mark.filterwarnings("ignore:.*is not the whole of")
def test_published_sources_are_found_by_what_their_files_are_called(tmp_path: Path) -> None:
    """And two ways to read one folder are told apart."""
    trained = []
    for key in ("cityscapes33", "kitti"):
        WRITERS[key](tmp_path / key.removesuffix("33"))
        trained.append(open_dataset(f"{tmp_path / key.removesuffix('33')}:{key}"))
    made = [make_member(tmp_path / "pool", data.spec.name, 0, trained_on=data) for data in trained]
    found, missing = source_datasets(made, {}, tmp_path)
    assert missing == {}
    assert {name: dataset.reference for name, dataset in found.items()} == {
        "Cityscapes33": f"{tmp_path}/cityscapes:cityscapes33",
        "KITTI": f"{tmp_path}/kitti:kitti",
    }


def test_the_network_is_one_of_several_sources_before_a_backbone_before_the_largest_source(tmp_path: Path) -> None:
    small, large = (member_of(tmp_path, name, "x", train_images=images) for name, images in (("s", 5), ("l", 9)))
    backbone = member_of(tmp_path, "b", "", classes=(), dataset="", train_images=None)
    two, other = member_of(tmp_path, "m", "x", "y"), member_of(tmp_path, "n", "x", "z")
    three = member_of(tmp_path, "o", "x", "y", "z")
    assert network_for_distances([small, large, backbone, two, other, three]) == three
    assert network_for_distances([small, large, backbone, two, other], ["z"]) == other
    assert network_for_distances([small, large, backbone]) == backbone
    assert network_for_distances([small, large]) == large
    assert network_for_distances([]) is None
