"""Predict a folder of images with a fine-tuned ensemble: masks, and overlays to look at."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from muster.data import IMAGE_SUFFIXES, list_pictures, read_image, unreadable_pictures
from muster.errors import DatasetError
from muster.files import require_writable, whole_file
from muster.report import mask_image, overlay
from muster.tasks.ensemble import load_ensemble


def predict_folder(images: Path, ensemble: Path, output: Path, device: str, console: Console) -> int:
    """Write a mask and an overlay for every image of a folder.

    Masks are 8-bit palette PNGs whose values are class indices; ``classes.txt`` names them. An image that cannot be
    read is named, and the others are predicted all the same.

    Args:
        images: Folder of images of any size.
        ensemble: What finetune.py wrote.
        output: Where ``masks/`` and ``overlays/`` go.
        device: Where the ensemble runs.
        console: Where to print.

    Returns:
        0, or 1 if an image could not be read.

    Raises:
        DatasetError: If the folder is missing or holds no image.
    """
    if not images.is_dir():
        raise DatasetError(f"--predict: {images} is not a folder. Give a folder of images.")
    pictures = list_pictures(images, IMAGE_SUFFIXES)
    if not pictures:
        raise DatasetError(f"--predict: {images} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    require_writable(output, "output")
    loaded = load_ensemble(ensemble, device)
    problems = [f"{path} is of a kind that is not read. Convert it to PNG." for path in unreadable_pictures(images)]
    done = 0
    for stem, path in pictures.items():
        try:
            image = read_image(path)
        except DatasetError as error:
            problems.append(str(error))
            continue
        mask = loaded.predict(image)
        with whole_file(output / "masks" / f"{stem}.png") as partial:
            mask_image(mask).save(partial)
        with whole_file(output / "overlays" / f"{stem}.jpg") as partial:
            overlay(image, mask).save(partial, quality=92)
        done += 1
    with whole_file(output / "classes.txt") as partial:
        partial.write_text("".join(f"{index} {name}\n" for index, name in enumerate(loaded.classes)), "utf-8")
    console.print(
        f"Predicted {done} of {done + len(problems)} images: masks and overlays are in {output}.",
        markup=False,
        soft_wrap=True,
    )
    for problem in problems:
        console.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)
    return 1 if problems else 0
