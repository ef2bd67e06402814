"""Published segmentation datasets that are not of streets, beside other readers."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import VOCSegmentation

from muster.data import Dataset, open_dataset
from muster.data.hdf5 import open_hdf5
from muster.errors import DatasetError
from tests.data.scene_spec_writers import WRITERS, decode_coco_slowly, write_coco_panoptic, write_voc

PARTIAL = "ignore:.*is not the whole of"


def opened(key: str, root: Path) -> Dataset:
    WRITERS[key](root)
    return open_dataset(str(root))


@pytest.mark.filterwarnings(PARTIAL)
def test_torchvision_reads_the_same_masks_of_pascal_voc(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit/VOC2012"
    root.mkdir(parents=True)
    write_voc(root)
    dataset = open_dataset(str(root))
    for split, image_set in ((dataset.train, "train"), (dataset.test, "val")):
        theirs = VOCSegmentation(str(tmp_path), year="2012", image_set=image_set)
        assert len(theirs) == len(split) == 1
        for (image, mask), sample in zip(theirs, split, strict=True):
            assert np.array_equal(np.asarray(image), sample.image.permute(1, 2, 0))
            assert np.array_equal(np.asarray(mask), sample.mask)


@pytest.mark.filterwarnings(PARTIAL)
def test_a_slow_decoder_reads_the_same_masks_of_coco(tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path)
    dataset = open_dataset(str(tmp_path))
    for split, name in ((dataset.train, "train2017"), (dataset.test, "val2017")):
        for sample in split:
            assert sample.mask.tolist() == decode_coco_slowly(tmp_path, name, sample.identifier, dataset.spec.classes)


@pytest.mark.filterwarnings(PARTIAL)
def test_both_cities_of_isprs_have_red_green_and_their_mean(tmp_path: Path) -> None:
    dataset = opened("isprs", tmp_path / "copy")
    for split, place, (red, green) in (
        (dataset.train, "2_Ortho_RGB/top_potsdam_2_10_RGB.tif", (0, 1)),
        (dataset.test, "ISPRS_semantic_labeling_Vaihingen/top/top_mosaic_09cm_area1.tif", (1, 2)),
    ):
        stored = np.asarray(Image.open(tmp_path / "copy" / place)).astype(int)
        means = (stored[..., red] + stored[..., green]) // 2
        assert np.array_equal(split[0].image, np.stack([stored[..., red], stored[..., green], means]))


@pytest.mark.filterwarnings(PARTIAL)
def test_what_is_held_out_of_scannet_is_of_other_rooms(tmp_path: Path) -> None:
    dataset = opened("scannet", tmp_path / "copy")
    parts = (*dataset.train.hold_out(0.3, seed=0), dataset.test)
    assert sorted(sorted({name[:9] for name in each.identifiers}) for each in parts) == [
        ["scene0002"],
        ["scene0191"],
        ["scene0568"],
    ]


@pytest.mark.filterwarnings(PARTIAL)
def test_the_toolbox_of_sun_rgbd_says_what_is_wrong(tmp_path: Path) -> None:
    dataset = opened("sun_rgbd_toolbox", tmp_path / "copy")
    Image.new("RGB", (5, 5)).save(tmp_path / "copy/SUNRGBD/kv2/kinect2data/000002_a/image/first.jpg")
    with pytest.raises(
        DatasetError, match=r"000002_a/image/first\.jpg is 5 x 5 and seglabel 2 of .*2Dseg\.mat is 3 x 2"
    ):
        dataset.train.mask(0)
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file.create_group("SUNRGBD2Dseg").create_dataset("seglabel", (3, 1), h5py.ref_dtype)
    labels = tmp_path / "copy/SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat"
    labels.unlink()
    (tmp_path / "other.mat").rename(labels)
    open_hdf5.cache_clear()
    with pytest.raises(DatasetError, match=r"as many masks as .*Meta\.mat lists images, which is 2, but it has 3"):
        open_dataset(str(tmp_path / "copy"))
    (tmp_path / "copy/SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat").unlink()
    with pytest.raises(DatasetError, match=r"SUNRGBDMeta\.mat cannot be read.*SUNRGBDtoolbox\.zip"):
        open_dataset(str(tmp_path / "copy"))
