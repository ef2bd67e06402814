"""Images told apart by the bytes of their files."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muster.data import ContentSketch, cached, content_prefixes, open_dataset, warn_of_shared_images
from muster.data.content import SKETCH_SIZE, FileContents, prefix_of_text
from muster.data.worlds import WORLD_NAMES
from muster.errors import DatasetError
from tests.helpers import make_target
from tests.odd_inputs.bench import write_dataset


def prefixes(start: int, stop: int) -> list[str]:
    """Prefixes of made-up images with these numbers."""
    return [prefix_of_text(str(number)) for number in range(start, stop)]


class TestPrefixes:
    def test_are_64_bits_of_the_sha_256_of_each_image_file(self, tmp_path: Path) -> None:
        folder = write_dataset(tmp_path / "some")
        train = open_dataset(str(folder)).train
        files = [folder / "train" / "images" / f"{identifier}.png" for identifier in train.identifiers]
        expected = tuple(hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files)
        assert content_prefixes(train) == expected
        assert content_prefixes(cached(train).subset(2, seed=0)) == content_prefixes(train.subset(2, seed=0))
        again = pickle.loads(pickle.dumps(train))
        assert content_prefixes(again) == expected

    def test_of_many_files_come_in_order(self, tmp_path: Path) -> None:
        files = {str(number): tmp_path / str(number) for number in range(100)}
        for identifier, file in files.items():
            file.write_text(identifier)
        split = replace(make_target().train, identifiers=tuple(files), content=FileContents(files))
        assert content_prefixes(split) == tuple(prefixes(0, 100))

    def test_of_a_file_that_is_gone(self, tmp_path: Path) -> None:
        folder = write_dataset(tmp_path / "some")
        train = open_dataset(str(folder)).train
        (folder / "train" / "images" / "1.png").unlink()
        with pytest.raises(DatasetError, match=r"Image .*images/1\.png cannot be read"):
            content_prefixes(train)

    def test_are_none_where_content_is_not_known(self) -> None:
        assert content_prefixes(make_target().train) == ()

    def test_of_worlds_are_all_different_and_stay_the_same(self) -> None:
        worlds = [open_dataset(f"worlds/{name}") for name in WORLD_NAMES]
        found = [
            prefix for world in worlds for split in (world.train, world.test) for prefix in content_prefixes(split)
        ]
        assert len(set(found)) == len(found)
        assert content_prefixes(open_dataset("worlds/attic").train[:2]) == ("1cf9053da45f43c3", "8597f7ed7f541c93")


class TestSketch:
    def test_of_few_images_holds_them_all(self) -> None:
        sketch = ContentSketch.of("a", [*prefixes(0, 5), *prefixes(0, 2)])
        assert (sketch.images, sketch.is_exact, sketch.problem()) == (5, True, None)
        assert sketch.prefixes.split() == sorted(prefixes(0, 5))
        assert sketch.shared_with(set(prefixes(3, 100))) == 2
        assert sketch.shared_with(set(prefixes(5, 100))) == 0
        assert ContentSketch.of("nothing", ()).shared_with(set(prefixes(0, 3))) == 0

    @pytest.mark.parametrize("shared", [300, 1500, 20_000])
    def test_of_many_images_finds_what_is_shared(self, shared: int) -> None:
        sketch = ContentSketch.of("large", prefixes(0, 20_000))
        assert (sketch.images, len(sketch.prefixes.split()), sketch.problem()) == (20_000, SKETCH_SIZE, None)
        assert not sketch.is_exact
        estimate = sketch.shared_with(set(prefixes(20_000 - shared, 40_000)))
        # Binomial: 1024 draws; four standard deviations.
        share = shared / 20_000
        assert abs(estimate - shared) <= 4 * 20_000 * (share * (1 - share) / SKETCH_SIZE) ** 0.5 + 1

    def test_two_sketches_meet_where_their_images_do(self) -> None:
        """Two independent samples of 1024 among 20 000 would share about 52 images; the sketches share nearly all."""
        first, second = (ContentSketch.of("x", prefixes(start, start + 20_000)) for start in (0, 200))
        assert first.shared_with(set(second.prefixes.split())) > 0.9 * 20_000

    @pytest.mark.parametrize(
        ("images", "text", "problem"),
        [
            (1, "xyz", "16 hexadecimal digits"),
            (1, "ABCDEF0123456789", "16 hexadecimal digits"),
            (2, "1111111111111111 0000000000000000", "ascending"),
            (2, "1111111111111111 1111111111111111", "ascending"),
            (3, "0000000000000000 1111111111111111", "expected 3 prefixes for 3 images, but got 2"),
            (-1, "", "expected -1 prefixes"),
        ],
    )
    def test_that_makes_no_sense_is_noticed(self, images: int, text: str, problem: str) -> None:
        assert problem in str(ContentSketch("x", images, text).problem())


class TestSharedImages:
    def test_are_told_with_their_number_and_an_example(self, tmp_path: Path) -> None:
        folder = write_dataset(tmp_path / "leaky", images=4, tests=3)
        shutil.copy(folder / "train" / "images" / "2.png", folder / "test" / "images" / "0.png")
        shutil.copy(folder / "train" / "images" / "1.png", folder / "test" / "images" / "2.png")
        dataset = open_dataset(str(folder))
        with pytest.warns(UserWarning, match="2 of the 3 test images are also training images") as told:
            warn_of_shared_images(dataset)
        assert "'0' of the test split and '2' of the training" in str(told[0].message)

    def test_are_not_told_where_there_are_none_or_nothing_is_known(self, tmp_path: Path) -> None:
        folder = write_dataset(tmp_path / "sound")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_shared_images(open_dataset(str(folder)))
            warn_of_shared_images(make_target())
            warn_of_shared_images(open_dataset("worlds/attic"))

    def test_copies_that_were_encoded_anew_are_not_found(self, tmp_path: Path) -> None:
        """What the documentation says, so that it is noticed when it changes."""
        folder = write_dataset(tmp_path / "copied")
        with Image.open(folder / "train" / "images" / "0.png") as image:
            Image.fromarray(np.array(image)).save(folder / "test" / "images" / "0.png", compress_level=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_shared_images(open_dataset(str(folder)))
