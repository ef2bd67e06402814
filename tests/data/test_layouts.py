"""Every layout on disk: a tiny copy in its true form is recognised, opened, and holds what was written."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from muster.data import LAYOUTS, content_prefixes, open_dataset, require_usable, split_record
from muster.data.layout import name_layout
from tests.data.layout_writers import OF_WHOLE_IMAGES, WRITTEN, Written, describe, make_samples


@pytest.fixture(params=WRITTEN.values(), ids=list(WRITTEN))
def written(request: pytest.FixtureRequest) -> Written:
    found: Written = request.param
    return found


def test_every_layout_has_a_writer() -> None:
    assert {each.reader for each in WRITTEN.values()} == set(LAYOUTS.names()) - OF_WHOLE_IMAGES


@pytest.mark.filterwarnings("ignore:No labelled pixel of")
def test_what_was_written_comes_back(written: Written, tmp_path: Path) -> None:
    folder, samples = tmp_path / "meine Gärten 庭", make_samples()
    folder.mkdir()
    classes = tuple(written.write(folder, samples))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert name_layout(folder) == written.reader
    dataset = open_dataset(str(folder))
    assert dataset.spec.classes == classes
    assert dataset.reference == str(folder)
    record = split_record(dataset)
    for split, each in (("train", dataset.train), ("test", dataset.test)):
        assert len(each) == len(record[split]) == len(samples[split])
        again = pickle.loads(pickle.dumps(each))
        for index, (image, mask) in enumerate(samples[split].values()):
            sample = again[index]
            assert np.array_equal(sample.mask.numpy(), mask), each.identifiers[index]
            assert torch.equal(each.mask(index), sample.mask)
            assert not written.same_pixels or np.array_equal(sample.image.permute(1, 2, 0).numpy(), image)
        assert len(set(content_prefixes(each))) == len(each)
        require_usable(each)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "nothing may be written there"


def test_a_description_elsewhere_says_where_it_lies(written: Written, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    written.write(folder, make_samples(2, 1))
    content = {"name": "other", "root": "../data", "reader": written.reader}
    if (folder / "dataset.yaml").exists():
        pytest.skip("it has a description of its own")
    describe(tmp_path / "described", **content, domain="elsewhere")
    dataset = open_dataset(str(tmp_path / "described"))
    assert (dataset.spec.name, dataset.spec.domain, len(dataset.train)) == ("other", "elsewhere", 2)
