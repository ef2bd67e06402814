"""Things by name, each known by lying in the right folder or by being added."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from muster.data import LAYOUTS, Dataset, DatasetSpec, Layout, Sample, Split, open_dataset
from muster.data.dataset_yaml import Heading
from muster.errors import ConfigError, DatasetError
from muster.models import (
    FAMILIES,
    SCHEMES,
    Body,
    Family,
    Scheme,
    StartedBody,
    build_model,
    families,
    list_architectures,
    list_pretrainings,
)
from muster.registry import Registry


def test_a_name_is_given_once() -> None:
    shapes: Registry[str] = Registry("shape")
    shapes.add("square", "s")
    shapes.add("square", "s")
    with pytest.raises(ValueError, match="two of shape 'square': 's' and 't'"):
        shapes.add("square", "t")


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"Unknown layout 'images_masks'. Did you mean 'images_and_masks'"):
        LAYOUTS["images_masks"]


def test_every_file_of_a_room_is_found() -> None:
    there = {path.stem for path in Path(families.__file__).parent.glob("*.py")} - {"__init__"}
    found = {type(FAMILIES[name]).__module__.rpartition(".")[2] for name in FAMILIES.names()}
    assert found == there > {"hrnet", "small", "smp", "text"}
    assert SCHEMES.names() == ("file", "imagenet", "none", "published", "simclr")
    assert {"ade20k", "images_and_masks", "patterns", "voc"} < set(LAYOUTS.names())


class Names(Layout):
    """A file of colours: every line is an image of one colour."""

    def recognises(self, folder: Path) -> bool:
        return (folder / "colours.txt").is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        spec = DatasetSpec("colours", "made up", ("dark", "light"))
        values = [int(line) for line in (heading.root / "colours.txt").read_text("utf-8").split()]

        def read(name: str) -> Sample:
            value = values[int(name)]
            image = torch.full((3, 8, 8), value, dtype=torch.uint8)
            return Sample(name, image, torch.full((8, 8), value > 127, dtype=torch.uint8))

        names = tuple(map(str, range(len(values))))
        return Dataset(spec, Split(spec, "train", names[1:], read), Split(spec, "test", names[:1], read), reference)


@pytest.fixture
def colours(tmp_path: Path) -> Iterator[Path]:
    LAYOUTS.add("colours", Names())
    (tmp_path / "colours.txt").write_text("200\n10\n250\n", "utf-8")
    yield tmp_path
    LAYOUTS.remove("colours")


def test_a_layout_from_elsewhere_opens_what_it_recognises(colours: Path) -> None:
    dataset = open_dataset(str(colours))
    assert [int(sample.mask[0, 0]) for sample in dataset.train] == [0, 1]
    assert dataset.reference == str(colours)


def test_a_folder_that_two_layouts_recognise_is_refused(colours: Path) -> None:
    LAYOUTS.add("paints", Names())
    try:
        with pytest.raises(DatasetError, match="looks like colours and like paints"):
            open_dataset(str(colours))
    finally:
        LAYOUTS.remove("paints")


class OneConvolution(Body):
    """The smallest body there can be."""

    def __init__(self) -> None:
        super().__init__(feature_channels=4, minimum_side=64)
        self.only = nn.Conv2d(3, 4, 3, stride=4, padding=1)

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        return [[self.only(images)]]


class Tiny(Family):
    """`tiny` alone."""

    def names(self) -> tuple[str, ...]:
        return ("tiny",)

    def takes(self, architecture: str) -> bool:
        return architecture == "tiny"

    def build(self, architecture: str, imagenet: bool) -> Body:
        return OneConvolution()


class Zeros(Scheme):
    """`zeros`: a body of zeros."""

    def names(self) -> tuple[str, ...]:
        return ("zeros",)

    def build_body(self, family: Family, architecture: str, pretraining: str) -> StartedBody:
        body = family.build(architecture, imagenet=False)
        with torch.no_grad():
            for parameter in body.parameters():
                parameter.zero_()
        return StartedBody(body, {"source": "nothing"})


@pytest.fixture
def tiny() -> Iterator[None]:
    FAMILIES.add("tiny", Tiny())
    SCHEMES.add("zeros", Zeros())
    yield
    FAMILIES.remove("tiny")
    SCHEMES.remove("zeros")


@pytest.mark.usefixtures("tiny")
def test_a_family_and_a_scheme_from_elsewhere_build_models() -> None:
    assert "tiny" in list_architectures()
    assert "zeros" in list_pretrainings()
    model = build_model("tiny", num_classes=2, pretraining="zeros")
    images = torch.rand(1, 3, 64, 96)
    assert model.features(images).abs().max() == 0
    assert torch.equal(model.predict(images), torch.full((1, 2, 16, 24), 0.5))
    trained = build_model("tiny", num_classes=2)
    assert torch.equal(trained(images), trained.score(trained.features(images)))


def test_a_frozen_model_trains_nothing_and_keeps_its_statistics() -> None:
    model = build_model("small_fpn", num_classes=2)
    model.freeze()
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_names_of_no_family_are_told() -> None:
    with pytest.raises(ConfigError, match="Unknown architecture 'tiny'"):
        build_model("tiny", num_classes=2)
