"""A tiny target, a tiny dataset on disk, and the hardware that all tests have."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from muster.data import Dataset
from muster.training.hardware import Hardware
from tests.helpers import make_target


@pytest.fixture(scope="session")
def hardware() -> Hardware:
    return Hardware("cpu")


@pytest.fixture(scope="session")
def target() -> Dataset:
    return make_target(6, void=("02",))


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up dataset as PNG files: six training and two test images."""
    folder = tmp_path_factory.mktemp("on disk, größer") / "tiny"
    made_up = make_target(6)
    for name, split in (("train", made_up.train), ("test", made_up.test)):
        for part in ("images", "masks"):
            (folder / name / part).mkdir(parents=True)
        for sample in split:
            Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(
                folder / name / "images" / f"{sample.identifier}.png"
            )
            Image.fromarray(sample.mask.numpy()).save(folder / name / "masks" / f"{sample.identifier}.png")
    spec = made_up.spec
    content = {"name": spec.name, "domain": spec.domain, "classes": list(spec.classes), "licence": "ours"}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder
