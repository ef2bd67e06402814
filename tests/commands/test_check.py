"""``muster check``: what it counts, writes and says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from muster.commands.main import main
from muster.data import open_dataset
from muster.report.display import as_rgb
from tests.data.layout_writers import CLASSES, make_samples, save, write_images_and_masks, write_voc


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_images_and_masks(tmp_path / "tiny", make_samples(4, 2))
    return tmp_path / "tiny"


def test_what_is_counted_and_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = make_samples(4, 2)
    assert main(["check", "tiny"]) == 0
    record = yaml.safe_load(Path("runs/checks/tiny/check.yaml").read_text("utf-8"))
    for split, each in samples.items():
        masks = [mask for _, mask in each.values()]
        found = record["splits"][split]
        assert found["images"] == len(masks)
        assert found["void_pixels"] == sum(int((mask == 255).sum()) for mask in masks)
        assert found["class_pixels"] == {
            name: sum(int((mask == index).sum()) for mask in masks) for index, name in enumerate(CLASSES)
        }
        assert found["class_images"] == dict.fromkeys(CLASSES, len(masks))
        assert found["sizes"] == ["20 x 16", "24 x 16"]
    assert (record["usable"], record["problems"], record["repeated_images"]) == (True, [], [])
    assert yaml.safe_load(Path("runs/checks/tiny/splits.yaml").read_text("utf-8")) == {
        split: list(each) for split, each in samples.items()
    }
    with Image.open("runs/checks/tiny/contact_sheet.png") as sheet:
        assert min(sheet.size) > 200
    assert "The dataset can be used." in capsys.readouterr().out
    assert main(["check", "--dataset", "tiny"]) == 0  # its own output is replaced


def test_every_fault_is_told_and_recorded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(folder / "train/masks/train_000.png", np.full((16, 20), 77, np.uint8))
    (folder / "test/images/test_101.png").write_bytes(b"")
    assert main(["check", "tiny", "--output", "out"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 image(s) cannot be used" in printed
    assert "value(s) 77" in printed
    record = yaml.safe_load(Path("out/check.yaml").read_text("utf-8"))
    assert not record["usable"]
    assert len(record["problems"]) == 2


def test_what_all_faults_advise_is_said_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(3):
        save(folder / f"train/masks/train_00{index}.png", np.full((16, 20), 70 + index, np.uint8))
    assert main(["check", "tiny"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert all(f"holds the value(s) {value} " in printed for value in (70, 71, 72))
    assert printed.count("Correct the mask, or classes,") == 1
    problems = yaml.safe_load(Path("runs/checks/tiny/check.yaml").read_text("utf-8"))["problems"]
    assert all("Correct the mask, or classes," in problem for problem in problems)


def test_names_that_the_layout_assumed_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_voc(tmp_path / "voc", make_samples(4, 2))
    assert main(["check", "voc"]) == 0
    assert "The names of the classes are those of the Pascal VOC challenge" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "voc/dataset.yaml").write_text(f"classes: [{', '.join(CLASSES)}]\n")
    assert main(["check", "voc"]) == 0
    assert "Pascal VOC challenge" not in capsys.readouterr().out


def test_images_that_are_there_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("images", "masks"):
        content = (folder / f"train/{part}/train_000.png").read_bytes()
        (folder / f"train/{part}/again.png").write_bytes(content)
        (folder / f"test/{part}/copy.png").write_bytes(content)
    assert main(["check", "tiny"]) == 0
    record = yaml.safe_load(Path("runs/checks/tiny/check.yaml").read_text("utf-8"))
    assert record["repeated_images"] == [["train/again", "train/train_000"]]
    assert record["test_images_in_training"] == [{"test": "copy", "train": "again"}]
    assert "also training images" in capsys.readouterr().out


def test_what_has_no_effect_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "worlds/reef", "--data_root", "."]) == 2
    assert "--data_root has no effect" in capsys.readouterr().err
    assert main(["check", "worlds/reef", "--reader", "voc"]) == 2
    assert "built in" in capsys.readouterr().err


def test_images_of_any_channels_can_be_shown(folder: Path) -> None:
    rgb = open_dataset(str(folder)).train[0].image
    assert as_rgb(rgb) is rgb
    random = torch.rand(5, 8, 9, generator=torch.Generator().manual_seed(0))
    shown = as_rgb(random)
    assert (shown.dtype, tuple(shown.shape)) == (torch.uint8, (3, 8, 9))
    assert torch.equal(shown.flatten(1).argmax(1), random[:3].flatten(1).argmax(1)) or shown.max() == 255
    grey = as_rgb(random[:1])
    assert torch.equal(grey[0], grey[2])
