"""A selection follows its data and its pool, and notices others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from muster.data import open_dataset
from muster.errors import DatasetError, PoolError, SelectionError
from muster.pool import Pool
from muster.selection import Selection
from muster.selection.reopening import (
    open_pool,
    open_target,
    portable_reference,
    require_same_data,
    warn_if_from_before,
)
from muster.selection.run import select
from tests.helpers import make_member, make_pool, make_target, undated
from tests.odd_inputs.bench import write_dataset

OPTIONS = {"size": 2, "pixels_per_image": 20, "cache_gb": 0.0, "predictor": "eep", "resamples": 0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Data with one dataset, ``tiny``."""
    write_dataset(tmp_path / "dätä" / "tiny")
    return tmp_path / "dätä"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 3)


class TestReferences:
    def test_below_the_data_root_are_relative_to_it(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = ("tiny", str(root))
        assert portable_reference("tiny", root) == expected
        assert portable_reference(str(root / "tiny"), root) == expected
        monkeypatch.chdir(root.parent)
        assert portable_reference("tiny", Path("dätä")) == expected
        assert portable_reference("dätä/tiny", Path("dätä")) == expected
        (root.parent / "link").symlink_to(root)
        assert portable_reference("tiny", root.parent / "link") == ("tiny", str(root.parent / "link"))
        assert portable_reference(str(root / "tiny"), root.parent / "link") == expected
        for rest in (":kitti", "#3", ":my.yaml#3"):
            assert portable_reference(f"tiny{rest}", root) == (f"tiny{rest}", str(root))
            assert portable_reference(str(root / f"tiny{rest}"), root) == (f"tiny{rest}", str(root))

    def test_elsewhere_are_absolute(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(root)
        for data_root in (None, root / "tiny", root.parent / "nowhere"):
            assert portable_reference("tiny", data_root) == (str(root / "tiny"), "")

    def test_of_what_is_no_folder_stay_as_they_are(self, root: Path) -> None:
        for reference in ("worlds/attic", "made-up/tiny"):
            assert portable_reference(reference, root) == (reference, "")

    def test_of_a_folder_that_is_called_like_a_world(self, root: Path, pool: Pool) -> None:
        write_dataset(root / "worlds" / "attic")
        reference = portable_reference(str(root / "worlds" / "attic"), root)
        assert reference == ("./worlds/attic", str(root))
        made = select(pool, str(root / "worlds" / "attic"), **OPTIONS, data_root=root)
        assert open_target(made).reference == str(root / "worlds" / "attic")
        some = replace(made, target_reference="./worlds/attic#1")
        assert open_target(some).reference == str(root / "worlds" / "attic#1")


class TestTarget:
    def test_is_found_again_without_a_word(self, root: Path, pool: Pool) -> None:
        for made in (select(pool, "tiny", **OPTIONS, data_root=root), select(pool, str(root / "tiny"), **OPTIONS)):
            dataset = open_target(made)
            assert dataset.reference == str(root / "tiny")
            require_same_data(made, dataset)

    @pytest.mark.parametrize("with_root", [True, False])
    def test_is_looked_for_below_the_data_root_first(self, root: Path, pool: Pool, with_root: bool) -> None:
        """Whether it is still where it was or not."""
        options = {**OPTIONS, "data_root": root} if with_root else OPTIONS
        made = select(pool, str(root / "tiny"), **options)
        copied = root.parent / "elsewhere"
        shutil.copytree(root, copied)
        assert open_target(made, data_root=copied).reference == str(copied / "tiny")
        shutil.rmtree(root)
        moved = open_target(made, data_root=copied)
        assert moved.reference == str(copied / "tiny")
        require_same_data(made, moved)

    def test_is_where_one_says_that_it_is(self, root: Path, pool: Pool) -> None:
        made = select(pool, "tiny", **OPTIONS, data_root=root)
        moved = root.rename(root.parent / "moved") / "tiny"
        moved = moved.rename(moved.with_name("renamed"))
        (moved / "dataset.yaml").write_text((moved / "dataset.yaml").read_text().replace("name: tiny", "name: other"))
        dataset = open_target(made, str(moved))
        require_same_data(made, dataset)
        assert (dataset.spec.name, dataset.reference) == ("other", str(moved))

    def test_that_is_nowhere_says_what_was_tried(self, root: Path, pool: Pool) -> None:
        made = select(pool, "tiny", **OPTIONS, data_root=root)
        root.rename(root.parent / "gone")
        with pytest.raises(DatasetError, match=r"'tiny', is not where it was.*Tried: .*tiny.*--target FOLDER"):
            open_target(made, data_root=root.parent / "nowhere")

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (
                lambda folder: Image.new("RGB", (64, 64)).save(folder / "train" / "images" / "2.png"),
                r"1 of the 4 training images .* have another content in dataset 'tiny' .*, e\.g\. 2\.",
            ),
            (
                lambda folder: [(folder / "train" / part / "0.png").unlink() for part in ("images", "masks")],
                r"1 training images of the selection are no longer in dataset 'tiny' .*, e\.g\. 0\.",
            ),
            (
                lambda folder: (folder / "dataset.yaml").write_text(
                    (folder / "dataset.yaml").read_text().replace("sky", "roof")
                ),
                r"for classes ground, wall, sky, but dataset 'tiny' .* has ground, wall, roof",
            ),
        ],
    )
    def test_that_is_another_now_is_refused(
        self, root: Path, pool: Pool, spoil: Callable[[Path], object], message: str
    ) -> None:
        made = select(pool, "tiny", **OPTIONS, data_root=root)
        spoil(root / "tiny")
        with pytest.raises(SelectionError, match=message):
            require_same_data(made, open_target(made))

    def test_of_a_selection_from_before_goes_by_its_name(self, root: Path, pool: Pool, tmp_path: Path) -> None:
        new = select(pool, "tiny", **OPTIONS, data_root=root)
        old = replace(new, train_contents=(), checksums={}, data_root="", target_reference=str(root / "tiny"))
        with pytest.warns(UserWarning, match="is from before contents were written down"):
            warn_if_from_before(old, tmp_path)
        Image.new("RGB", (64, 64)).save(root / "tiny" / "train" / "images" / "2.png")
        require_same_data(old, open_target(old))
        write_dataset(root / "other")
        with pytest.raises(SelectionError, match=r"made for 'tiny', but this is dataset 'other'.*names must agree"):
            require_same_data(old, open_dataset(str(root / "other")))

    def test_without_known_content_goes_by_names_of_images(self, pool: Pool) -> None:
        made = select(pool, make_target(4), **OPTIONS)
        assert made.train_contents == ()
        require_same_data(made, make_target(4))


class TestPool:
    def test_may_have_moved(self, root: Path, tmp_path: Path) -> None:
        made = select(make_pool(tmp_path / "pool", 3), str(root / "tiny"), **OPTIONS)
        moved = (tmp_path / "pool").rename(tmp_path / "moved")
        with pytest.raises(SelectionError, match=r"not at .*pool any more.*--pool"):
            open_pool(made, made.members)
        assert len(open_pool(made, made.members, moved)) == 3

    def test_with_other_weights_is_refused_where_they_matter(self, root: Path, tmp_path: Path) -> None:
        made = select(make_pool(tmp_path / "pool", 3), str(root / "tiny"), **OPTIONS)
        other = next(name for name in made.member_names if name not in made.members)
        make_member(tmp_path / "pool", other, seed=8, classes=4)
        open_pool(made, made.members)
        make_member(tmp_path / "pool", made.members[0], seed=9, classes=4)
        with pytest.raises(SelectionError, match=f"the weights of {made.members[0]} are not those"):
            open_pool(made, made.members)

    def test_without_a_member_is_refused(self, root: Path, tmp_path: Path) -> None:
        made = select(make_pool(tmp_path / "pool", 3), str(root / "tiny"), **OPTIONS)
        shutil.rmtree(tmp_path / "pool" / "members" / made.members[0])
        with pytest.raises(PoolError, match=f"Unknown member '{made.members[0]}'"):
            open_pool(made, made.members)


def test_contents_and_checksums_come_back_from_disk(root: Path, pool: Pool, tmp_path: Path) -> None:
    made = select(pool, "tiny", **OPTIONS, data_root=root)
    assert made.checksums == {member.name: member.card.checksum for member in pool}
    made = replace(made, train_contents=("1234567890123456", "0000000000000012", "1234e10000000000", "0" * 16))
    made.save(tmp_path / "saved")
    assert undated(Selection.load(tmp_path / "saved")) == undated(made)
    record = tmp_path / "saved" / "selection.yaml"
    record.write_text(record.read_text().replace("- '1234567890123456'\n", ""))
    with pytest.raises(SelectionError, match="one of train_contents for each of 4 train_images, but got 3"):
        Selection.load(tmp_path / "saved")


def test_a_selection_beside_a_folder_with_the_relative_name_of_its_target(
    root: Path, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = select(pool, "tiny", **OPTIONS, data_root=root)
    monkeypatch.chdir(tmp_path)
    made.save(Path("tiny") / "selection")  # no part of the target, which lies below the root
    with pytest.raises(SelectionError, match="which is read"):
        made.save(root / "tiny" / "selection")
