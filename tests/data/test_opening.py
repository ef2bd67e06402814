"""Opening datasets by reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.data import open_dataset
from muster.data.worlds import WORLD_NAMES
from muster.errors import DatasetError


def test_below_the_data_root(folder: Path) -> None:
    dataset = open_dataset("tiny", folder.parent)
    assert dataset.reference == str(folder.absolute())
    assert len(dataset.train) == 3


def test_by_absolute_path(folder: Path, tmp_path: Path) -> None:
    assert open_dataset(str(folder), tmp_path).reference == str(folder)


def test_the_data_root_goes_before_the_current_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert open_dataset("tiny", tmp_path).spec.name == "tiny"  # nothing of that name below tmp_path
    (tmp_path / "tiny").mkdir()
    with pytest.raises(DatasetError, match=f"{tmp_path / 'tiny'} has no dataset.yaml, and its layout is none"):
        open_dataset("tiny", tmp_path)


def test_a_folder_that_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError) as caught:
        open_dataset("tinny", folder.parent)
    for part in ("'tinny'", str(folder.parent / "tinny"), str(tmp_path / "tinny"), f"Did you mean {folder}"):
        assert part in str(caught.value)


def test_a_file_is_not_a_folder(folder: Path) -> None:
    with pytest.raises(DatasetError, match="It is a file"):
        open_dataset("dataset.yaml", folder)


def test_a_name_alone_is_looked_for_below_data_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    with pytest.raises(
        DatasetError, match=r"Tried: .*quux\. Give the folder's path, or what it lies below as --data_root"
    ):
        open_dataset("quux")
    with pytest.raises(DatasetError, match=r"Tried: .*quux, .*quux\.$"):
        open_dataset("quux", folder)


def test_a_name_that_no_folder_can_have(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no dataset folder 'nnn"):
        open_dataset("n" * 300, tmp_path)


def test_nothing() -> None:
    with pytest.raises(DatasetError, match="got nothing"):
        open_dataset(" ")


def test_a_world_by_name() -> None:
    name = WORLD_NAMES[0]
    dataset = open_dataset(f"worlds/{name}")
    assert dataset.reference == f"worlds/{name}"
    assert len(dataset.train) > 0


@pytest.mark.parametrize("reference", [f"worlds/{WORLD_NAMES[0]}x", WORLD_NAMES[0]])
def test_nearly_the_name_of_a_world(reference: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"Did you mean .*{WORLD_NAMES[0]}"):
        open_dataset(reference, tmp_path)


def test_a_world_of_another_size() -> None:
    dataset = open_dataset("worlds/attic@40")
    assert (dataset.reference, dataset.spec.name, len(dataset.train)) == ("worlds/attic@40", "attic", 40)
    assert open_dataset(dataset.reference).train.identifiers == dataset.train.identifiers
    with pytest.raises(DatasetError, match="Did you mean 'attic'"):
        open_dataset("worlds/atic@40")
    with pytest.raises(DatasetError, match="attic@many"):
        open_dataset("worlds/attic@many")
