"""Large images as tiles, against slices of the whole; and other things that files of large datasets need."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.io import savemat

from muster.data import Dataset, content_prefixes, open_dataset, require_usable
from muster.data.tiles import image_of_tile
from muster.data.windows import Tiling, Window
from muster.errors import DatasetError
from tests.data.conftest import Array, make_sample
from tests.data.layout_writers import WRITTEN, make_samples


def save(path: Path, pixels: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write(root: Path, sizes: dict[str, tuple[int, int]], **content: object) -> dict[str, tuple[Array, Array]]:
    """Images and masks of some sizes, found by patterns; those called ``v...`` are for testing."""
    splits = {name: {"images": f"img/{name}/*.png", "masks": f"ann/{name}/*.png"} for name in ("train", "test")}
    said = {"name": "tiny", "domain": "aerial", "classes": ["sky", "road", "tree"], "reader": "patterns"}
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.yaml").write_text(yaml.safe_dump({**said, "splits": splits, **content}))
    found = {}
    for number, (name, (height, width)) in enumerate(sizes.items()):
        found[name] = make_sample(number, height, width)
        split = "test" if name.startswith("v") else "train"
        for place, pixels in zip(("img", "ann"), found[name], strict=True):
            save(root / place / split / f"{name}.png", pixels)
    return found


SIZES = {"a": (20, 37), "b": (12, 9), "c": (9, 30), "v": (16, 16)}


def test_tiles_lie_where_the_source_says() -> None:
    """M21's own example: 1500 pixels are cut at 0, 600 and 700; and Potsdam's 6000 x 6000 into 100."""
    windows = Tiling(800, 800, 200).windows(1500, 2000)
    assert [window.top for window in windows[::3]] == [0, 600, 700]
    assert [window.left for window in windows[:3]] == [0, 600, 1200]
    assert len(Tiling(800, 800, 200).windows(6000, 6000)) == 100
    assert Tiling(10, 20).windows(7, 15) == [Window(0, 0, 7, 15)]
    assert Tiling(10, 20).windows(10, 20) == [Window(0, 0, 10, 20)]
    assert [window.left for window in Tiling(10, 20).windows(10, 21)] == [0, 1]


@pytest.mark.parametrize("height", range(1, 40, 3))
def test_tiles_cover_every_pixel(height: int) -> None:
    covered = torch.zeros(height, 23, dtype=torch.int32)
    for window in Tiling(8, 10, 3).windows(height, 23):
        part = covered[window.top : window.top + window.height, window.left : window.left + window.width]
        assert part.shape == (min(height, 8), 10)
        part += 1
    assert covered.min() == 1


def test_tiles_are_parts_of_images(tmp_path: Path) -> None:
    samples = write(tmp_path / "set", SIZES, tiles={"size": [8, 12], "overlap": 4})
    dataset = open_dataset(str(tmp_path / "set"))
    assert len(dataset.train) == 4 * 5 + 2 * 1 + 2 * 4
    assert dataset.train.identifiers[:6] == ("a/r0_c0", "a/r0_c8", "a/r0_c16", "a/r0_c24", "a/r0_c25", "a/r4_c0")
    split = pickle.loads(pickle.dumps(dataset.train))
    for identifier, sample in zip(split.identifiers, split, strict=True):
        name, _, place = identifier.partition("/r")
        top, left = map(int, place.split("_c"))
        image, mask = (whole[top : top + 8, left : left + 12] for whole in samples[name])
        assert np.array_equal(sample.image.permute(1, 2, 0), image)
        assert np.array_equal(sample.mask, mask)
        assert torch.equal(split.mask_of(identifier), sample.mask)
        assert image_of_tile(identifier) == name
    assert len({*content_prefixes(dataset.train), *content_prefixes(dataset.test)}) == 30 + 3 * 2
    require_usable(dataset.train)
    assert {image_of_tile(name) for name in dataset.test.identifiers} == {"v"}


def test_tiles_of_one_image_stay_together(tmp_path: Path) -> None:
    """In the split that is drawn, and in what is held out of the training images."""
    parts = {"images": "img/train/*.png", "masks": "ann/train/*.png"}
    sizes = {f"t{number}": (16, 16) for number in range(10)}
    write(tmp_path / "set", sizes, tiles={"size": [8, 8]}, splits={"train": parts, "test": "seeded"})
    dataset = open_dataset(str(tmp_path / "set"))
    kept, held = dataset.train.hold_out(0.25, seed=0)
    parts_of = [{image_of_tile(name) for name in each.identifiers} for each in (kept, held, dataset.test)]
    assert [len(each) for each in parts_of] == [6, 2, 2]
    assert len(set().union(*parts_of)) == 10
    assert (len(kept), len(held), len(dataset.test)) == (24, 8, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"tiles": [8, 8]}, r"dataset\.yaml: key 'tiles': expected size: \[rows, columns\]"),
        ({"tiles": {"size": [8, 8], "overlaps": 2}}, r"key 'tiles': .*'overlaps'.*Did you mean 'overlap'"),
        ({"tiles": {"size": [8]}}, r"key 'tiles\.size': expected two numbers of pixels"),
        ({"tiles": {"size": [8, 12], "overlap": 8}}, r"key 'tiles\.overlap': expected a number of pixels from 0 to 7"),
        ({"larger_masks": "resize"}, r"key 'larger_masks': expected 'cut', or nothing, but got 'resize'"),
        ({"mask_variable": 3}, r"key 'mask_variable'"),
    ],
)
def test_wrong_keys_are_named(tmp_path: Path, content: dict[str, object], message: str) -> None:
    write(tmp_path / "set", SIZES, **content)
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(tmp_path / "set"))


def test_images_that_exif_turns_are_not_cut(tmp_path: Path) -> None:
    write(tmp_path / "set", SIZES, tiles={"size": [8, 8]})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(tmp_path / "set/img/train/a.png").save(tmp_path / "set/img/train/a.png", exif=exif)
    with pytest.raises(DatasetError, match=r"a\.png of dataset 'tiny' has an EXIF orientation \(6\).*Save it upright"):
        open_dataset(str(tmp_path / "set"))


def opened(root: Path, images: dict[str, Array], masks: dict[str, object], **content: object) -> Dataset:
    """A set whose masks are variables of MATLAB files; of two images the second is for testing."""
    splits = {
        name: {"images": f"img/{name}*.png", "masks": f"ann/{name}*.mat", **content.pop(name, {})}  # type: ignore[dict-item]
        for name in ("train", "test")
    }
    said = {"name": "tiny", "domain": "made up", "classes": ["background", "sky", "tree"], "reader": "patterns"}
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.yaml").write_text(yaml.safe_dump({**said, "splits": splits, **content}))
    for name, pixels in images.items():
        save(root / f"img/{name}.png", pixels)
    (root / "ann").mkdir()
    for name, mask in masks.items():
        savemat(root / f"ann/{name}.mat", {"LabelMap": mask} if isinstance(mask, np.ndarray) else mask)
    return open_dataset(str(root))


GREY = np.zeros((2, 3, 3), np.uint8)
NUMBERS = np.array([[0, 2, 458], [7, 2, 300]], np.uint16)
VALUES = {2: "sky", 458: "tree", "other": "background"}


def test_masks_of_matlab_are_read(tmp_path: Path) -> None:
    """Numbers of 16 bits, numbers stored as floating point, and a field of a structure."""
    images = dict.fromkeys(("train1", "train2", "test1"), GREY)
    masks = {"train1": NUMBERS, "train2": NUMBERS.astype(float), "test1": NUMBERS}
    dataset = opened(tmp_path / "plain", images, masks, mask_values=VALUES)
    expected = [[0, 1, 2], [0, 1, 0]]
    assert [sample.mask.tolist() for sample in dataset.train] == [expected, expected]
    fields = {"GTcls": {"Segmentation": NUMBERS, "Boundaries": np.zeros((3, 1))}}
    said = {"mask_values": VALUES, "mask_variable": "GTcls.Segmentation"}
    assert opened(tmp_path / "fields", images, dict.fromkeys(images, fields), **said).test[0].mask.tolist() == expected


@pytest.mark.parametrize(
    ("mask", "content", "message"),
    [
        ({"A": NUMBERS, "B": NUMBERS}, {}, r"test1\.mat: expected one variable of rows and columns, but it holds A, B"),
        ({"A": NUMBERS}, {"mask_variable": "C"}, r"test1\.mat: expected the variable C, but it holds A\."),
        ({"A": {"x": NUMBERS}}, {"mask_variable": "A.y"}, r"A\.y: expected the field y, but got x"),
        (NUMBERS + 0.5, {}, r"expected LabelMap to hold whole numbers from 0 to 65535"),
        (NUMBERS.astype(np.int32) - 1, {}, r"holds numbers from -1 to 457"),
        ({"A": "some text"}, {"mask_variable": "A"}, r"expected A to be a table of whole numbers, but it is <U9"),
        (NUMBERS, {"mask_values": {2: "sky", 458: "tree"}}, r"holds the value\(s\) 0, 7, 300 \(3 pixels\)"),
    ],
)
def test_what_is_no_mask_is_named(tmp_path: Path, mask: object, content: dict[str, object], message: str) -> None:
    dataset = opened(
        tmp_path / "set",
        {"train1": GREY, "test1": GREY},
        {"train1": NUMBERS, "test1": mask},
        **{"mask_values": VALUES, **content},
    )
    with pytest.raises(DatasetError, match=message):
        dataset.test.mask(0)


def test_colours_that_nobody_named(tmp_path: Path) -> None:
    """``other`` says what they mean, and without it they are an error."""
    colours = np.array([[[0, 0, 255], [0, 255, 0], [0, 250, 0]], [[9, 9, 9], [0, 0, 255], [0, 255, 0]]], np.uint8)
    write(
        tmp_path / "set", {"a": (2, 3), "v": (2, 3)}, mask_values={"#0000ff": "sky", "#00ff00": "road", "other": None}
    )
    for split, name in (("train", "a"), ("test", "v")):
        save(tmp_path / f"set/ann/{split}/{name}.png", colours)
    assert open_dataset(str(tmp_path / "set")).test.mask(0).tolist() == [[0, 1, 255], [255, 0, 1]]


def test_larger_masks_are_cut_where_that_is_said(tmp_path: Path) -> None:
    samples = write(tmp_path / "set", {"a": (6, 8), "v": (6, 8)}, larger_masks="cut")
    save(tmp_path / "set/img/train/a.png", samples["a"][0][:5, :7])
    assert np.array_equal(open_dataset(str(tmp_path / "set")).train.mask(0), samples["a"][1][:5, :7])
    save(tmp_path / "set/ann/test/v.png", samples["v"][1][:5])
    with pytest.raises(DatasetError, match=r"v\.png is 8 x 6 and .*v\.png is 8 x 5 \(width x height\)"):
        open_dataset(str(tmp_path / "set")).test.mask(0)


def test_channels_are_mixed_as_a_split_says(tmp_path: Path) -> None:
    splits = {
        "train": {"images": "img/train/*.png", "masks": "ann/train/*.png", "channels": "1 2 1+2"},
        "test": {"images": "img/test/*.png", "masks": "ann/test/*.png", "channels": "2 3 2+3"},
    }
    samples = write(tmp_path / "set", {"a": (4, 5), "v": (4, 5)}, splits=splits)
    dataset = open_dataset(str(tmp_path / "set"))
    for split, name, (red, green) in ((dataset.train, "a", (0, 1)), (dataset.test, "v", (1, 2))):
        image = samples[name][0].astype(int)
        means = (image[..., red] + image[..., green]) // 2
        assert np.array_equal(split[0].image, np.stack([image[..., red], image[..., green], means]))
    splits["test"]["channels"] = "1 2 4"
    write(tmp_path / "set", {}, splits=splits)
    with pytest.raises(DatasetError, match=r"key 'splits\.test\.channels': expected three .* but got '1 2 4'"):
        open_dataset(str(tmp_path / "set"))


def test_files_that_are_no_images_are_excepted_and_lists_name_folders(tmp_path: Path) -> None:
    splits = {
        name: {"images": "*/*.png", "masks": "*/*_ann.png", "except": "*/*_id.png", "list": f"{name}.txt"}
        for name in ("train", "test")
    }
    write(tmp_path / "set", {}, splits=splits)
    for name in ("scene1/0", "scene1/1", "scene2/0", "scene3/0"):
        image, mask = make_sample(0)
        for ending, pixels in (("", image), ("_ann", mask), ("_id", mask)):
            save(tmp_path / f"set/{name}{ending}.png", pixels)
    (tmp_path / "set/train.txt").write_text("scene1\n")
    (tmp_path / "set/test.txt").write_text("scene3\nscene2\n")
    dataset = open_dataset(str(tmp_path / "set"))
    assert (dataset.train.identifiers, dataset.test.identifiers) == (("scene1/0", "scene1/1"), ("scene3/0", "scene2/0"))
    (tmp_path / "set/test.txt").write_text("scene4\n")
    with pytest.raises(DatasetError, match=r"1 of 1 listed images are not in .*: scene4"):
        open_dataset(str(tmp_path / "set"))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_parts_of_tiffs_are_those_of_the_whole(tmp_path: Path, compression: str | None) -> None:
    """By rasterio alone the part, by Pillow the whole; masks in a lossy TIFF are refused by both."""
    colours = {"#000000": "sky", "#010101": "road", "#020202": "tree", "other": None}
    splits = {name: {"images": f"{name}/*_i.tif", "masks": f"{name}/*_m.tif"} for name in ("train", "test")}
    write(tmp_path / "set", {}, splits=splits, mask_values=colours, tiles={"size": [16, 16], "overlap": 8})
    for split in ("train", "test"):
        image, mask = make_sample(0, 40, 33)
        (tmp_path / f"set/{split}").mkdir()
        Image.fromarray(image).save(tmp_path / f"set/{split}/a_i.tif", compression=compression)
        Image.fromarray(np.repeat(mask[..., None], 3, 2)).save(
            tmp_path / f"set/{split}/a_m.tif", compression=compression
        )
    split = open_dataset(str(tmp_path / "set")).train
    whole = np.array(Image.open(tmp_path / "set/train/a_i.tif"))
    if compression == "jpeg":
        with pytest.raises(DatasetError, match=r"a_m\.tif .* is a TIFF with jpeg inside"):
            split.mask(0)
        return
    for identifier, sample in zip(split.identifiers, split, strict=True):
        top, left = map(int, identifier.partition("/r")[2].split("_c"))
        assert np.array_equal(sample.image.permute(1, 2, 0), whole[top : top + 16, left : left + 16])
        assert np.array_equal(sample.mask, mask[top : top + 16, left : left + 16])


@pytest.mark.parametrize("layout", ["images_and_masks", "geotiff", "voc", "nnunet, a file for each channel"])
def test_other_layouts_are_cut_too(tmp_path: Path, layout: str) -> None:
    """Against slices of what the same reader reads whole: bands, and masks whose "nodata" is void."""
    root = tmp_path / "set"
    root.mkdir()
    WRITTEN[layout].write(root, make_samples(2, 1))
    whole = open_dataset(str(root)).train
    said = root / "dataset.yaml"
    content = yaml.safe_load(said.read_text()) if said.exists() else {}
    said.write_text(yaml.safe_dump({**content, "tiles": {"size": [9, 11], "overlap": 2}}))
    split = open_dataset(str(root)).train
    assert len(split) == 2 * 2 + 2 * 3
    for identifier, sample in zip(split.identifiers, split, strict=True):
        name, _, place = identifier.partition("/r")
        top, left = map(int, place.split("_c"))
        expected = whole.read(name)
        assert torch.equal(sample.image, expected.image[:, top : top + 9, left : left + 11])
        assert torch.equal(sample.mask, expected.mask[top : top + 9, left : left + 11])


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    samples = write(tmp_path / "set", SIZES, tiles={"size": [8, 8]})
    save(tmp_path / "set/ann/train/a.png", samples["a"][1][:-1])
    with pytest.raises(DatasetError, match=r"a\.png is 37 x 20 and .*a\.png is 37 x 19 \(width x height\)"):
        open_dataset(str(tmp_path / "set")).train.mask(0)
    write(tmp_path / "set", {}, tiles={"size": [8, 8]}, larger_masks="cut")
    save(tmp_path / "set/img/train/a.png", samples["a"][0][:-2])
    assert np.array_equal(open_dataset(str(tmp_path / "set")).train.mask(0), samples["a"][1][:8, :8])


def test_names_may_stand_in_the_file_itself(tmp_path: Path) -> None:
    parts = {"images": "img/*.png", "masks": "ann/*.png"}
    splits = {"train": {**parts, "names": "c a"}, "test": {**parts, "names": "b"}}
    write(tmp_path / "set", {}, splits=splits)
    for name in "abcd":
        image, mask = make_sample(0, 2, 2)
        save(tmp_path / f"set/img/{name}.png", image)
        save(tmp_path / f"set/ann/{name}.png", mask)
    dataset = open_dataset(str(tmp_path / "set"))
    assert (dataset.train.identifiers, dataset.test.identifiers) == (("c", "a"), ("b",))
    splits["test"]["list"] = "b.txt"
    (tmp_path / "set/b.txt").write_text("b")
    write(tmp_path / "set", {}, splits=splits)
    with pytest.raises(DatasetError, match="list and names say the same"):
        open_dataset(str(tmp_path / "set"))
