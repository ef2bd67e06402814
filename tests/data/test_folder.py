"""Reading datasets from folders: what is accepted, and what each fault is called."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from muster.data import open_folder, split_record
from muster.data.images import read_image, read_mask
from muster.data.spec import VOID
from muster.data.statistics import ChannelStatistics, channel_statistics, check_split, class_pixel_counts
from muster.errors import DatasetError


def expect_error(call: Callable[[], object], *parts: str) -> None:
    """The call must fail with a message that holds every part."""
    with pytest.raises(DatasetError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)


class TestOpening:
    def test_splits_and_description(self, folder: Path) -> None:
        dataset = open_folder(folder)
        assert dataset.spec.classes == ("sky", "road", "tree")
        assert dataset.train.identifiers == ("a", "b", "c é")
        assert dataset.test.identifiers == ("x", "y")
        assert (dataset.train.name, dataset.test.name) == ("train", "test")
        assert dataset.reference == str(folder)

    def test_images_come_back_as_stored(self, folder: Path, tools: Any) -> None:
        sample = open_folder(folder).train[0]  # "a" was written second
        image, mask = tools.make_sample(1)
        assert sample.identifier == "a"
        assert sample.image.dtype == sample.mask.dtype == torch.uint8
        assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), image)
        assert np.array_equal(sample.mask.numpy(), mask)

    @pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".bmp", ".TIF", ".tiff", ".WebP"])
    def test_kinds_of_image_files(self, write_folder: Callable[..., Path], suffix: str) -> None:
        dataset = open_folder(write_folder(suffix=suffix))
        assert dataset.train[2].image.shape == (3, 16, 24)

    def test_test_goes_before_val(self, write_folder: Callable[..., Path]) -> None:
        folder = write_folder({"train": ["a"], "val": ["v"], "test": ["t"]})
        with pytest.warns(UserWarning, match="val/ is not used"):
            dataset = open_folder(folder)
        assert dataset.test.identifiers == ("t",)

    def test_hidden_and_other_files_are_passed_over(self, folder: Path) -> None:
        for name in ("images/.DS_Store", "images/._a.png", "masks/._a.png", "images/notes.txt", "masks/Thumbs.db"):
            (folder / "train" / name).write_bytes(b"\0")
        assert len(open_folder(folder).train) == 3

    def test_a_raw_file_beside_an_image_is_passed_over(self, folder: Path) -> None:
        for name in ("images/a.NEF", "masks/a.npy"):
            (folder / "train" / name).write_bytes(b"\0")
        assert len(open_folder(folder).train) == 3
        (folder / "train/images/d.NEF").write_bytes(b"\0")
        expect_error(lambda: open_folder(folder), "1 image(s)", "a kind that is not read", "images/d.NEF")

    def test_decomposed_letters_match_composed_ones(self, folder: Path) -> None:
        mask = folder / "train/masks/c é.png"
        mask.rename(mask.with_name("c e\u0301.png"))
        assert open_folder(folder).train[2].identifier == "c é"

    def test_a_split_survives_pickling(self, folder: Path) -> None:
        train = open_folder(folder).train
        again = pickle.loads(pickle.dumps(train))
        assert torch.equal(again[1].image, train[1].image)

    def test_unknown_image(self, folder: Path) -> None:
        train = open_folder(folder).train
        expect_error(lambda: train.read("c e"), "tiny", "'c e'", "'c é'")


class TestListing:
    def test_image_without_mask(self, folder: Path) -> None:
        for stem in "ab":
            (folder / f"train/masks/{stem}.png").unlink()
        expect_error(lambda: open_folder(folder), "tiny", "2 image(s)", "without mask", "images/a.png", "images/b.png")

    def test_mask_without_image(self, folder: Path) -> None:
        (folder / "val/images/x.png").unlink()
        expect_error(lambda: open_folder(folder), "tiny", "1 mask(s)", "without image", "masks/x.png")

    def test_many_are_counted_not_listed(self, write_folder: Callable[..., Path]) -> None:
        folder = write_folder({"train": [f"{number}" for number in range(8)], "val": ["x"]})
        shutil.rmtree(folder / "train/masks")
        (folder / "train/masks").mkdir()
        expect_error(lambda: open_folder(folder), "8 image(s)", "and 3 more")

    def test_two_images_of_one_stem(self, folder: Path) -> None:
        shutil.copy(folder / "train/images/a.png", folder / "train/images/a.PNG")
        expect_error(lambda: open_folder(folder), "tiny", "'a.PNG'", "'a.png'", "one image per stem")

    def test_masks_of_a_lossy_kind(self, folder: Path) -> None:
        (folder / "train/masks/a.png").rename(folder / "train/masks/a.jpg")
        expect_error(lambda: open_folder(folder), "tiny", "must be PNG", "masks/a.jpg")

    @pytest.mark.parametrize("split", ["train", "val"])
    def test_empty_split(self, folder: Path, split: str) -> None:
        for file in folder.glob(f"{split}/*/*"):
            file.unlink()
        expect_error(lambda: open_folder(folder), "tiny", "empty split", f"{split}/images")

    def test_images_in_sub_folders(self, folder: Path) -> None:
        for part in ("images", "masks"):
            inner = folder / "train" / part / "city"
            inner.mkdir()
            for file in (folder / "train" / part).glob("*.png"):
                file.rename(inner / file.name)
        expect_error(lambda: open_folder(folder), "empty split", "sub-folders")

    @pytest.mark.parametrize(("gone", "named"), [("train", "train/ is missing"), ("val", "test/ is missing")])
    def test_missing_split(self, folder: Path, gone: str, named: str) -> None:
        shutil.rmtree(folder / gone)
        expect_error(lambda: open_folder(folder), "tiny", named)

    def test_missing_masks_folder(self, folder: Path) -> None:
        shutil.rmtree(folder / "train/masks")
        expect_error(lambda: open_folder(folder), "tiny", "train/masks")

    @pytest.mark.parametrize("other", ["images/", "splits.yaml"])
    def test_both_layouts_at_once(self, folder: Path, other: str) -> None:
        if other == "images/":
            (folder / other).mkdir()
        else:
            (folder / other).write_text("train: [a]\ntest: [b]\n")
        expect_error(lambda: open_folder(folder), "both train/ and", other)


class TestFolderWithoutSplits:
    def test_a_fifth_is_held_out_and_written_down(self, flat_folder: Path) -> None:
        dataset = open_folder(flat_folder)
        record = split_record(dataset)
        assert (len(record["train"]), len(record["test"])) == (8, 2)
        assert sorted(record["train"] + record["test"]) == [f"{number:04}" for number in range(10)]
        assert split_record(open_folder(flat_folder)) == record
        # The two smallest SHA-256 of "0:0000" to "0:0009", computed with sha256sum.
        assert record["test"] == GOLDEN_TEST_SPLIT

    def test_nothing_is_written_into_the_folder(self, flat_folder: Path) -> None:
        before = sorted(flat_folder.rglob("*"))
        assert len(open_folder(flat_folder).train[0].mask) == 16
        assert sorted(flat_folder.rglob("*")) == before

    def test_one_more_image_moves_at_most_one(self, flat_folder: Path, tools: Any) -> None:
        before = set(open_folder(flat_folder).test.identifiers)
        tools.write_samples(flat_folder, ["0010"])
        after = set(open_folder(flat_folder).test.identifiers)
        assert len(after - before) <= 1

    def test_one_image_cannot_be_divided(self, write_folder: Callable[..., Path]) -> None:
        folder = write_folder({".": ["a"]})
        expect_error(lambda: open_folder(folder), "at least 2 images", str(folder))

    def test_a_record_is_a_valid_splits_file(self, flat_folder: Path) -> None:
        wanted = {"train": ["0001", "0003"], "test": ["0000", "0007", "0008"]}
        (flat_folder / "splits.yaml").write_text(yaml.safe_dump(wanted))
        dataset = open_folder(flat_folder)
        assert split_record(dataset) == wanted
        assert dataset.test[1].identifier == "0007"

    def test_splits_may_be_typed_by_hand(self, flat_folder: Path) -> None:
        (flat_folder / "splits.yaml").write_text("train: [0001, 0002.png]\ntest: [0000, 0009]\n")
        assert split_record(open_folder(flat_folder)) == {"train": ["0001", "0002"], "test": ["0000", "0009"]}

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("train: ['0001']\n", ["'train' and 'test'"]),
            ("train: ['0001']\nval: ['0002']\n", ["'train' and 'test'"]),
            ("train: ['0001']\ntest: []\n", ["'test'", "at least one"]),
            ("train: ['0001']\ntest: 0002\n", ["'test'", "list"]),
            ("train: ['0001']\ntest: ['00O2']\n", ["'test'", "'00O2'", "Did you mean"]),
            ("train: ['0001', '0002']\ntest: ['0002']\n", ["both splits", "0002"]),
            ("train: ['0001', 0001.png]\ntest: ['0002']\n", ["twice", "'0001'"]),
            ("train: [\n", ["YAML"]),
        ],
    )
    def test_faults_in_a_splits_file(self, flat_folder: Path, text: str, parts: list[str]) -> None:
        (flat_folder / "splits.yaml").write_text(text)
        expect_error(lambda: open_folder(flat_folder), "splits.yaml", *parts)


GOLDEN_TEST_SPLIT = ["0002", "0004"]


class TestDescription:
    @pytest.mark.parametrize("key", ["name", "domain", "classes"])
    def test_missing_key(self, write_folder: Callable[..., Path], key: str) -> None:
        folder = write_folder(**{key: ...})
        expect_error(lambda: open_folder(folder), str(folder / "dataset.yaml"), f"missing '{key}'")

    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"clases": ["a"]}, ["'clases'", "Did you mean 'classes'"]),
            ({"license": "MIT"}, ["'license'", "Did you mean 'licence'"]),
            ({"classes": {0: "sky"}}, ["'classes'", "list of class names", "dict"]),
            ({"classes": []}, ["'classes'", "list of class names"]),
            ({"classes": ["sky", False]}, ["'classes[1]'", "text", "False"]),
            ({"classes": ["sky", 3]}, ["'classes[1]'", "text", "3 (int)"]),
            ({"classes": ["sky", " "]}, ["'classes'", "empty"]),
            ({"classes": ["sky", "road", "sky"]}, ["'classes'", "repeated", "'sky'"]),
            ({"classes": [f"class {index}" for index in range(256)]}, ["'classes'", "at most 255", "256"]),
            ({"name": None}, ["'name'", "text", "nothing"]),
            ({"name": "a/b"}, ["'name'", "slashes", "'a/b'"]),
            ({"name": "é" * 61}, ["'name'", "at most 120 bytes", "122"]),
            ({"name": "a\tb"}, ["'name'", "control characters", "U+0009"]),
            ({"domain": "a\nb"}, ["'domain'", "U+000A"]),
            ({"classes": ["only"]}, ["'classes'", "at least two", "'only'"]),
            ({"classes": ["a", "b\x7f"]}, ["'classes[1]'", "U+007F"]),
            ({"orientation": ["apply"]}, ["'orientation'", "apply", "ignore"]),
            ({"probe_images": 1.5}, ["'probe_images'", "1.5 (float)"]),
            ({"domain": 7}, ["'domain'", "7 (int)"]),
            ({"citation": ["x"]}, ["'citation'", "list"]),
            ({"source_commit": 1234}, ["'source_commit'", "1234 (int)"]),
            ({"ignore_index": 70000}, ["'ignore_index'", "0 to 255", "70000"]),
            ({"ignore_index": [0, -1]}, ["'ignore_index'", "0 to 255", "[0, -1]"]),
            ({"ignore_index": []}, ["'ignore_index'", "a list of some", "[]"]),
            ({"reduce_zero_label": "yes"}, ["'reduce_zero_label'", "true or false", "'yes'"]),
            ({"ignore_classes": ["ski"]}, ["'ignore_classes'", "Did you mean 'sky'"]),
            ({"ignore_classes": ["sky", "road"]}, ["'classes'", "at least two", "'tree'"]),
            ({"crowd": "void"}, ["'crowd'", "no effect", "mask_suffix"]),
            ({"root": "elsewhere"}, ["'root'", "there is no folder", "elsewhere"]),
            ({"reader": "vocc"}, ["'reader'", "Unknown layout 'vocc'", "Did you mean 'voc'"]),
            ({"ignore_index": True}, ["'ignore_index'", "True (bool)"]),
            ({"counts": 3}, ["'counts'", "3 (int)"]),
            ({"counts": {"trian": 3}}, ["'counts'", "'trian'", "Did you mean 'train'"]),
            ({"counts": {"train": "3"}}, ["'counts.train'", "'3' (str)"]),
            ({"notes": [1]}, ["'notes'"]),
        ],
    )
    def test_faults(self, write_folder: Callable[..., Path], changes: dict[str, Any], parts: list[str]) -> None:
        folder = write_folder(**changes)
        expect_error(lambda: open_folder(folder), str(folder / "dataset.yaml"), *parts)

    @pytest.mark.parametrize(
        "content", [b"", b"- a\n", b"name: [\n", b"name: \xff\n", b"name: !!python/name:os.system\n"]
    )
    def test_not_a_description(self, folder: Path, content: bytes) -> None:
        (folder / "dataset.yaml").write_bytes(content)
        expect_error(lambda: open_folder(folder), str(folder / "dataset.yaml"))

    def test_no_description(self, folder: Path) -> None:
        (folder / "dataset.yaml").unlink()
        expect_error(lambda: open_folder(folder), str(folder), "no dataset.yaml", "classes:")

    def test_the_folder_above(self, folder: Path) -> None:
        expect_error(lambda: open_folder(folder.parent), "no dataset.yaml", "did you mean", "tiny")

    def test_most_classes_and_empty_optional_keys(self, write_folder: Callable[..., Path]) -> None:
        names = [f"class {index}" for index in range(255)]
        dataset = open_folder(write_folder(classes=names, citation=None, notes="one", counts={"train": 3, "val": 2}))
        assert dataset.spec.num_classes == 255
        assert dataset.spec.citation == ""

    @pytest.mark.parametrize("counts", [{"train": 4}, {"train": 3, "val": 1}])
    def test_other_counts_are_a_warning(self, write_folder: Callable[..., Path], counts: dict[str, int]) -> None:
        folder = write_folder(counts=counts)
        with pytest.warns(UserWarning, match="partial copy"):
            assert len(open_folder(folder).train) == 3


def cut_short(file: Path) -> None:
    """Keep two thirds of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


class TestReading:
    @pytest.mark.parametrize("part", ["images", "masks"])
    @pytest.mark.parametrize(
        "damage", [cut_short, lambda file: file.write_bytes(b""), lambda file: file.write_text("?")]
    )
    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
    def test_damaged_files(
        self, write_folder: Callable[..., Path], part: str, damage: Callable[[Path], object], suffix: str
    ) -> None:
        train = open_folder(write_folder(suffix=suffix)).train
        file = getattr(train.read, part).files["a"]
        damage(file)
        expect_error(lambda: train[0], "cannot be read", str(file), "'tiny'")

    @pytest.mark.parametrize("part", ["images", "masks"])
    def test_missing_files(self, folder: Path, part: str) -> None:
        train = open_folder(folder).train
        (folder / f"train/{part}/a.png").unlink()
        expect_error(lambda: train[0], "is missing", str(folder / f"train/{part}/a.png"), "'tiny'")

    def test_sixteen_bits(self, folder: Path, tools: Any) -> None:
        file = folder / "train/images/a.png"
        tools.write_png(file, np.ones((16, 24), int), bits=16)
        expect_error(lambda: open_folder(folder).train[0], "16-bit", str(file), "'tiny'")

    def test_masks_of_sixteen_bits(self, folder: Path, tools: Any) -> None:
        file = folder / "train/masks/a.png"
        tools.write_png(file, np.full((16, 24), 2), bits=16)
        assert open_folder(folder).train[0].mask.unique().tolist() == [2]
        tools.write_png(file, np.full((16, 24), 258), bits=16)  # 2, if its upper byte were lost
        expect_error(lambda: open_folder(folder).train[0], "258 (384 pixels)", str(file), "'tiny'")

    def test_sixteen_bits_in_colours(self, tmp_path: Path, tools: Any) -> None:
        tools.write_png(tmp_path / "a.png", np.ones((16, 24, 3), int), bits=16)
        expect_error(lambda: read_image(tmp_path / "a.png"), "16-bit")

    @pytest.mark.parametrize(("kind", "said"), [(np.uint16, "16-bit"), (np.int32, "32-bit"), (np.float32, "32-bit")])
    def test_deep_tiff(self, tmp_path: Path, kind: type[np.generic], said: str) -> None:
        Image.fromarray(np.ones((16, 24), kind)).save(tmp_path / "a.tif")
        expect_error(lambda: read_image(tmp_path / "a.tif", "tiny"), said, "8 bits", "'tiny'")

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
    def test_masks_in_colours(self, folder: Path, mode: str) -> None:
        Image.new(mode, (24, 16)).save(folder / "train/masks/a.png")
        expect_error(
            lambda: open_folder(folder).train[0], "class indices", f"mode {mode}", "train/masks/a.png", "'tiny'"
        )

    def test_sizes_that_differ(self, folder: Path) -> None:
        Image.new("L", (12, 8)).save(folder / "train/masks/a.png")
        expect_error(lambda: open_folder(folder).train[0], "24 x 16", "12 x 8", "images/a.png", "masks/a.png", "'tiny'")

    def test_values_outside_the_label_space(self, folder: Path) -> None:
        values = np.zeros((16, 24), np.uint8)
        values[0, :4] = [3, 7, 7, 254]
        Image.fromarray(values).save(folder / "train/masks/a.png")
        expect_error(
            lambda: open_folder(folder).train[0], "3, 7, 254", "4 pixels", "3 classes (0 to 2)", "masks/a.png", "'tiny'"
        )

    def test_another_void_value(self, write_folder: Callable[..., Path]) -> None:
        folder = write_folder(ignore_index=9)
        values = np.full((16, 24), 9, np.uint8)
        values[0] = 2
        Image.fromarray(values).save(folder / "train/masks/a.png")
        train = open_folder(folder).train
        assert train[0].mask.unique().tolist() == [2, VOID]
        expect_error(lambda: train[1], "value(s) 255", "9 for void")

    def test_exif_rotation_applies_to_the_image(self, folder: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # rotate by 90 degrees clockwise to see it upright
        stored = np.zeros((16, 24, 3), np.uint8)
        stored[:, 12:] = 200  # the right half, once upright the bottom half
        (folder / "train/images/a.png").unlink()
        Image.fromarray(stored).save(folder / "train/images/a.jpg", exif=exif, quality=95)
        train = open_folder(folder).train
        assert train[0].image.shape == (3, 16, 24)  # the mask is of the size as stored: it was drawn on that
        Image.new("L", (16, 24)).save(folder / "train/masks/a.png")
        image = train[0].image.float()
        assert image.shape == (3, 24, 16)
        assert image[:, :11].mean() < 5
        assert image[:, 13:].mean() > 195
        Image.new("L", (17, 24)).save(folder / "train/masks/a.png")
        expect_error(lambda: train[0], "16 x 24", "17 x 24")


class TestModes:
    """Each image is grey level 100 (or red of 100) at one pixel, 0 elsewhere."""

    @pytest.mark.parametrize(
        ("mode", "suffix"),
        [
            ("L", ".png"),
            ("LA", ".png"),
            ("RGB", ".png"),
            ("RGBA", ".png"),
            ("P", ".png"),
            ("CMYK", ".tif"),
            ("1", ".png"),
        ],
    )
    def test_images_become_rgb(self, tmp_path: Path, mode: str, suffix: str) -> None:
        image = Image.new("RGB", (4, 3))
        image.putpixel((2, 1), (255, 255, 255))
        image.convert(mode).save(tmp_path / f"a{suffix}")
        pixels = read_image(tmp_path / f"a{suffix}")
        expected = torch.zeros(3, 3, 4, dtype=torch.uint8)
        expected[:, 1, 2] = 255
        assert torch.equal(pixels, expected)

    def test_alpha_is_dropped_not_blended(self, tmp_path: Path) -> None:
        Image.new("RGBA", (4, 3), (10, 20, 30, 0)).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == [10, 20, 30]

    def test_views_for_other_devices_and_smaller_copies_are_no_further_images(self, tmp_path: Path) -> None:
        image, small = Image.new("RGB", (64, 48), (9, 9, 9)), Image.new("RGB", (16, 12))
        image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[small])
        with AppendingTiffWriter(str(tmp_path / "a.tif"), new=True) as pages:
            image.save(pages, "TIFF")
            pages.newFrame()
            small.save(pages, "TIFF", tiffinfo={254: 1})
        for name in ("a.jpg", "a.tif"):
            assert read_image(tmp_path / name).shape == (3, 48, 64)

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_marked_alpha_of_a_tiff_is_left_out(self, tmp_path: Path, mode: str) -> None:
        Image.new("RGBA", (4, 3), (10, 10, 10, 0)).convert(mode).save(tmp_path / "a.tif")
        assert read_image(tmp_path / "a.tif")[:, 0, 0].tolist() == [10, 10, 10]

    def test_palette_with_transparency(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.ones((3, 4), np.uint8)).convert("P")
        image.putpalette([0, 0, 0, 10, 20, 30])
        image.save(tmp_path / "a.png", transparency=b"\xff\x00")
        assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == [10, 20, 30]

    def test_palette_masks_are_indices(self, tmp_path: Path, tools: Any) -> None:
        _, mask = tools.make_sample(0)
        image = Image.fromarray(mask).convert("P")
        image.putdata(mask.ravel().tolist())
        image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200] + [7] * 3 * 253)
        image.save(tmp_path / "a.png")
        assert np.array_equal(read_mask(tmp_path / "a.png").numpy(), mask)

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_masks_of_few_bits_are_indices(self, tmp_path: Path, tools: Any, bits: int) -> None:
        mask = np.random.default_rng(0).integers(0, 2**bits, (5, 7))
        tools.write_png(tmp_path / "a.png", mask, bits)
        assert np.array_equal(read_mask(tmp_path / "a.png").numpy(), mask)


class TestWholeSplits:
    def test_check_collects_every_problem(self, folder: Path) -> None:
        train = open_folder(folder).train
        cut_short(folder / "train/images/a.png")
        Image.new("L", (24, 16), 77).save(folder / "train/masks/b.png")
        Image.new("L", (24, 16), VOID).save(folder / "train/masks/c é.png")
        seen: list[tuple[int, int]] = []
        check = check_split(train, lambda done, total: seen.append((done, total)))
        assert check.images == 3
        assert [("cannot be read" in text, "77" in text) for text in check.problems] == [(True, False), (False, True)]
        assert check.class_pixels == (0, 0, 0)
        assert check.void_pixels == 16 * 24
        assert ["sky, road, tree" in check.notes[0], "c é" in check.notes[1]] == [True, True]
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_check_of_a_good_split(self, folder: Path) -> None:
        train = open_folder(folder).train
        check = check_split(train)
        assert (check.problems, check.notes) == ((), ())
        assert check.class_pixels == tuple(class_pixel_counts(train, 3).tolist())

    def test_class_pixel_counts(self, folder: Path, tools: Any) -> None:
        masks = np.stack([tools.make_sample(number)[1] for number in range(3)])
        counts = class_pixel_counts(open_folder(folder).train, 3)
        assert counts.dtype == torch.int64
        assert counts.tolist() == [(masks == index).sum() for index in range(3)]
        expect_error(lambda: class_pixel_counts(open_folder(folder).train, 2), "[2]", "2 classes")

    def test_channel_statistics(self, folder: Path, tools: Any) -> None:
        pixels = np.concatenate([tools.make_sample(number)[0].reshape(-1, 3) for number in range(3)]) / 255
        statistics = channel_statistics(open_folder(folder).train)
        assert statistics.mean == pytest.approx(pixels.mean(axis=0), abs=1e-12)
        assert statistics.std == pytest.approx(pixels.std(axis=0), abs=1e-12)

    def test_statistics_of_constant_images(self, write_folder: Callable[..., Path]) -> None:
        folder = write_folder({"train": ["a"], "val": ["x"]})
        Image.new("RGB", (24, 16), (0, 51, 255)).save(folder / "train/images/a.png")
        statistics = channel_statistics(open_folder(folder).train)
        assert statistics == ChannelStatistics((0.0, 0.2, 1.0), (1 / 255, 1 / 255, 1 / 255))

    def test_statistics_that_cannot_be(self, folder: Path) -> None:
        expect_error(lambda: ChannelStatistics((0.0, 0.0, 0.0), (1.0, 0.0, 1.0)), "positive", "(1.0, 0.0, 1.0)")
        expect_error(lambda: channel_statistics(open_folder(folder).train[:0]), "no image", "tiny")
