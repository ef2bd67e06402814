"""What is what: strays and spoilt members in pools, data that were copied, renamed, exchanged or moved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from muster.data import ContentSketch, content_prefixes, open_dataset
from muster.errors import PoolError, SelectionError
from muster.files import read_yaml, sha256_of, write_yaml
from muster.pool import CARD, FORMAT_VERSION, SOURCE_SAMPLE, WEIGHTS, Card
from muster.records import read_record, write_record
from tests.odd_inputs.bench import Bench
from tests.odd_inputs.case import Case

PASSED_OVER = "Passed over in"
IN_WORDS = "Put back what belongs there, readable to you, or move the folder to a place outside the pool"


def _selecting(spoil: Callable[[Path], object]) -> Callable[[Bench], Sequence[str]]:
    """Select from a pool of which something was done to the folder of members."""

    def make(bench: Bench) -> Sequence[str]:
        pool = bench.pool()
        spoil(pool / "members")
        bench.dataset()
        return bench.selecting(pool=str(pool))

    return make


def _listing(spoil: Callable[[Path], object]) -> Callable[[Bench], Sequence[str]]:
    """List such a pool, which opens it as every other command does."""

    def make(bench: Bench) -> Sequence[str]:
        pool = bench.pool()
        spoil(pool / "members")
        return ["train.py", "--list", "--output", str(pool)]

    return make


def _verifying(spoil: Callable[[Path], object]) -> Callable[[Bench], Sequence[str]]:
    """Verify such a pool."""

    def make(bench: Bench) -> Sequence[str]:
        pool = bench.pool()
        spoil(pool / "members")
        return ["train.py", "--verify", "--output", str(pool)]

    return make


def _change_card(folder: Path, **changes: object) -> None:
    card = read_record(folder / CARD, Card, FORMAT_VERSION, PoolError)
    write_record(folder / CARD, replace(card, **changes), FORMAT_VERSION)  # type: ignore[arg-type]


def _spoil_tensor(folder: Path, file: str, value: float) -> None:
    """One number of one tensor, with the checksum on the card made anew: as training saved it."""
    tensors = load_file(folder / file)
    name = min(name for name in tensors if tensors[name].is_floating_point())
    tensors[name].view(-1)[0] = value
    save_file(tensors, folder / file)
    _change_card(folder, checksum=sha256_of(folder / WEIGHTS))


def _nest(members: Path) -> None:
    (members / "group").mkdir()
    shutil.move(members / "d", members / "group" / "d")


def _leave_strays_only(members: Path) -> None:
    shutil.rmtree(members)
    (members / "old experiments").mkdir(parents=True)


def _replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder")


def _leaky(bench: Bench, name: str = "tiny") -> Path:
    """A dataset with one test image that is a training image under another name."""
    folder = bench.dataset(name)
    shutil.copy(folder / "train" / "images" / "3.png", folder / "test" / "images" / "1.png")
    return folder


def _seen(bench: Bench, *splits: str, others: int = 0, name: str = "bureau", **changes: object) -> Sequence[str]:
    """Select for ``tiny`` from a pool whose member ``a`` saw its images, and as many ``others``, under another name."""
    folder, pool = bench.dataset(), bench.pool()
    dataset = open_dataset(str(folder))
    prefixes = [prefix for split in splits for prefix in content_prefixes(getattr(dataset, split))]
    sketch = ContentSketch.of(name, [*prefixes, *(f"{number:016x}" for number in range(others))])
    _change_card(pool / "members" / "a", dataset=name, seen_datasets=(name,), contents=(sketch,), **changes)
    return bench.selecting(pool=str(pool))


def _from_before(bench: Bench) -> Sequence[str]:
    pool = bench.pool()
    for member in (pool / "members").iterdir():
        content = read_yaml(member / CARD, PoolError)
        del content["contents"]
        write_yaml(member / CARD, content)
    bench.dataset()
    return bench.selecting(pool=str(pool))


def _wrong_sketch(members: Path) -> None:
    text = (members / "a" / CARD).read_text("utf-8")
    (members / "a" / CARD).write_text(text.replace("images: 100\n", "images: 99\n"), "utf-8")


def _selected(bench: Bench, *more: str, drop: Sequence[str] = (), **changes: object) -> Sequence[str]:
    """Fine-tune a selection whose record was changed."""
    folder = bench.selection()
    content = {**read_yaml(folder / "selection.yaml", SelectionError), **changes}
    write_yaml(folder / "selection.yaml", {key: value for key, value in content.items() if key not in drop})
    return bench.finetuning(*more, selection=str(folder))


def _exchange_image(folder: Path) -> Path:
    Image.new("RGB", (64, 64), "red").save(folder / "train" / "images" / "2.png")
    return folder


def _retrained(bench: Bench) -> Path:
    """A pool with members of the same names and other weights."""
    pool = bench.pool("retrained")
    for member in (pool / "members").iterdir():
        tensors = load_file(member / WEIGHTS)
        save_file({name: value + 1 if value.dtype == torch.float32 else value for name, value in tensors.items()},
                  member / WEIGHTS)  # fmt: skip
        _change_card(member, checksum=sha256_of(member / WEIGHTS))
    return pool


def _require_moved(bench: Bench) -> None:
    assert (bench.home / "tuned" / "report.html").is_file()


STRAYS = [
    Case(
        "an empty folder among members",
        _selecting(lambda members: (members / "leftover").mkdir()),
        (PASSED_OVER, "'leftover' is an empty folder"),
        status=0,
    ),
    Case(
        "a file among members",
        _listing(lambda members: (members / "notes.txt").touch()),
        (PASSED_OVER, "'notes.txt' is a file"),
        status=0,
    ),
    Case(
        "a folder of something else among members",
        _listing(
            lambda members: (
                shutil.copytree(members / "a", members / "x", ignore=lambda *_: [WEIGHTS, CARD, SOURCE_SAMPLE])
                and (members / "x" / "thesis.tex").touch()
            )
        ),
        (PASSED_OVER, "'x' is a folder with other content"),
        status=0,
        result=lambda bench: None if (bench.home / "pool/members/x/thesis.tex").is_file() else 1 / 0,
    ),
    Case(
        "a link among members that leads nowhere",
        _listing(lambda members: (members / "far").symlink_to("/mnt/not-mounted/far")),
        (PASSED_OVER, "'far' is a link to /mnt/not-mounted/far, which is not there"),
        status=0,
    ),
    Case(
        "a loop of links among members",
        _listing(lambda members: (members / "loop").symlink_to("loop")),
        (PASSED_OVER, "'loop' is a link in a loop of links"),
        status=0,
    ),
    Case(
        "a link to the pool itself among members",
        _listing(lambda members: (members / "again").symlink_to("..")),
        (PASSED_OVER, "'again' is a folder with other content"),
        status=0,
    ),
    Case(
        "a pipe among members",
        _listing(lambda members: os.mkfifo(members / "pipe")),
        (PASSED_OVER, "'pipe' is a pipe, a socket or a device"),
        status=0,
    ),
    Case(
        "members one folder too deep",
        _listing(_nest),
        (PASSED_OVER, "'group' is a folder that has members in it (d): move them up into members/"),
        status=0,
    ),
    Case(
        "weights without a card",
        _listing(lambda members: (members / "a" / CARD).unlink()),
        ("members/a is incomplete: card.yaml is missing.", IN_WORDS),
        absent=("Delete",),
        result=lambda bench: None if (bench.home / "pool/members/a" / WEIGHTS).is_file() else 1 / 0,
    ),
    Case(
        "a card without weights",
        _listing(lambda members: (members / "a" / WEIGHTS).unlink()),
        ("members/a is incomplete: model.safetensors is missing.", IN_WORDS),
        absent=("Delete",),
    ),
    Case(
        "weights that are a link to nowhere",
        _listing(lambda members: ((members / "a" / WEIGHTS).unlink(), (members / "a" / WEIGHTS).symlink_to("/big/a"))),
        ("members/a is incomplete: model.safetensors is a link to /big/a, which is not there.", IN_WORDS),
    ),
    Case(
        "weights that are a pipe",
        _listing(lambda members: ((members / "a" / WEIGHTS).unlink(), os.mkfifo(members / "a" / WEIGHTS))),
        ("members/a is incomplete: model.safetensors is a pipe, a socket or a device.",),
    ),
    Case(
        "a file in place of the folder of members",
        _listing(_replace_by_file),
        ("pool is not a pool: 'members' in it is a file.", "train.py wrote"),
    ),
    Case(
        "a folder of members that is a link to nowhere",
        _listing(lambda members: (shutil.rmtree(members), members.symlink_to("elsewhere"))),
        ("pool is not a pool: 'members' in it is a link to elsewhere, which is not there.",),
    ),
    Case(
        "a file in place of a pool",
        lambda bench: bench.selecting(pool=str(bench.dataset() / "dataset.yaml")),
        ("dataset.yaml is not a pool: it is a file.",),
    ),
    Case(
        "a pool whose name is too long for any file",
        lambda bench: bench.selecting(pool="p" * 300, target=str(bench.dataset())),
        ("There is no pool ppp",),
    ),
    Case(
        "a pool with nothing but a stray folder",
        _listing(_leave_strays_only),
        ("has no members yet. Run train.py on it first.", "'old experiments' is an empty folder"),
    ),
    Case(
        "two members of one name",
        _listing(lambda members: shutil.copytree(members / "b", members / "copy of b")),
        ("Two members are named 'b'", "copy of b"),
    ),
]

VERIFICATIONS = [
    Case(
        "a pool to verify with NaN among the weights",
        _verifying(lambda members: _spoil_tensor(members / "b", WEIGHTS, float("nan"))),
        ("Member 'b'", "model.safetensors holds NaN or infinity in 1 of", "3 of 4 members match"),
        status=1,
    ),
    Case(
        "a pool to verify with infinity in a source sample",
        _verifying(lambda members: _spoil_tensor(members / "b", SOURCE_SAMPLE, float("inf"))),
        ("Member 'b'", "source_sample.safetensors holds NaN or infinity in 1 of", "3 of 4 members match"),
        status=1,
    ),
    Case(
        "a pool to verify with NaN on a card",
        _verifying(lambda members: _change_card(members / "b", test_result=float("nan"), std=(0.2, float("inf"), 0.2))),
        ("card.yaml: std, test_result should be a finite number", "3 of 4 members match"),
        status=1,
    ),
    Case(
        "a pool to verify with two members of one name",
        _verifying(lambda members: shutil.copytree(members / "b", members / "copy of b")),
        ("2 members are named 'b'", "Member 'b' lies in a folder of another name", "4 of 5 members match"),
        status=1,
    ),
    Case(
        "a pool to verify with a renamed folder",
        _verifying(lambda members: (members / "b").rename(members / "renamed")),
        ("Member 'b' lies in a folder of another name", "Rename the folder to 'b'", "3 of 4 members match"),
        status=1,
    ),
    Case(
        "a pool to verify with a link to nowhere",
        _verifying(lambda members: (members / "far").symlink_to("/mnt/not-mounted/far")),
        ("far is a link to /mnt/not-mounted/far, which is not there", "4 of 4 members match"),
        status=1,
    ),
    Case(
        "a pool to verify with an incomplete member",
        _verifying(lambda members: (members / "a" / CARD).unlink()),
        ("members/a is incomplete: card.yaml is missing.", "3 of 4 members match"),
        status=1,
    ),
    Case(
        "a pool to verify with stray files only beside sound members",
        _verifying(lambda members: (members / "notes.txt").touch()),
        (PASSED_OVER, "'notes.txt' is a file", "4 of 4 members match"),
        status=0,
    ),
    Case(
        "a pool to verify that is empty",
        _verifying(lambda members: [shutil.rmtree(member) for member in members.iterdir()]),
        ("has no members yet",),
        absent=("0 of 0",),
    ),
]

SAME_AND_OTHER_DATA = [
    Case(
        "a test image that is a training image, to select for",
        lambda bench: bench.selecting(target=str(_leaky(bench))),
        ("1 of the 2 test images are also training images, byte for byte", "'1' of the test split and '3'"),
        status=0,
    ),
    Case(
        "a test image that is a training image, to train on",
        # The pool is never begun: what is told of the data comes first.
        lambda bench: [_leaky(bench), bench.training("--workers", "0")][1],  # type: ignore[list-item]
        ("1 of the 2 test images are also training images, byte for byte", "--workers: expected a positive number"),
    ),
    Case(
        "a test image that is a training image, to fine-tune on",
        lambda bench: bench.finetuning("--target", str(_leaky(bench))),
        ("1 of the 2 test images are also training images, byte for byte",),
        status=0,
    ),
    Case(
        "a target with the name of a source and other images",
        lambda bench: bench.selecting(target=str(bench.dataset("Elsewhere"))),
        (
            "trained on another dataset that is called elsewhere as well",
            "so they stay candidates",
            "Report: chosen/report.html",
        ),
        status=0,
        absent=("was trained on the target",),
    ),
    Case(
        "a target that is a source by another name",
        lambda bench: _seen(bench, "train"),
        (
            "Left out: a (was trained on the target, tiny, under the name bureau: 4 of its 4 training images are",
            "The chosen 2 of 3",
        ),
        status=0,
    ),
    Case(
        "a target that is a source with other splits",
        lambda bench: _seen(bench, "train", "test"),
        ("was trained on the target, tiny, under the name bureau: 6 of its 6",),
        status=0,
    ),
    Case(
        "a source that holds the target's test images",
        lambda bench: _seen(bench, "test", others=50),
        ("a: trained on 2 of the 2 test images of tiny (in bureau)", "Report: chosen/report.html"),
        status=0,
    ),
    Case(
        "a source that holds the target's training images",
        lambda bench: _seen(bench, "train", others=50),
        ("a: trained on 4 of the 4 training images of tiny (in bureau)", "Report: chosen/report.html"),
        status=0,
    ),
    Case(
        "cards from before contents were written down",
        _from_before,
        ("card(s) of a, b, c, d do not say which images", "by the name of the dataset alone"),
        status=0,
    ),
    Case(
        "a card whose contents do not add up",
        _listing(_wrong_sketch),
        ("members/a/card.yaml: contents of 'elsewhere': expected 99 prefixes for 99 images, but got 100",),
    ),
]

MOVED = [
    Case(
        "a selection whose dataset is gone",
        lambda bench: _selected(bench, target_reference=str(bench.home / "old" / "tiny")),
        ("The dataset of the selection, 'tiny', is not where it was any more", "old/tiny", "--target FOLDER"),
    ),
    Case(
        "a selection whose dataset lies below another data root now",
        lambda bench: _selected(
            bench, "--data_root", str(bench.dataset("here/tiny").parent), target_reference="/far/away/tiny"
        ),
        ("Selection:", "mIoU on 2 test images of tiny"),
        status=0,
        result=_require_moved,
    ),
    Case(
        "a selection, its dataset and its pool that were all moved",
        lambda bench: _selected(
            bench,
            "--target",
            str(bench.dataset("renamed")),
            "--pool",
            str(bench.pool("moved")),
            target_reference="/far/away/tiny",
            pool="/far/away/pool",
        ),
        ("mIoU on 2 test images of tiny",),
        status=0,
        result=_require_moved,
    ),
    Case(
        "a moved dataset in which an image was exchanged",
        lambda bench: bench.finetuning("--target", str(_exchange_image(bench.dataset()))),
        ("1 of the 4 training images that the selection looked at have another content", "e.g. 2.", "select.py again"),
    ),
    Case(
        "a dataset below the data root in which an image was exchanged since",
        lambda bench: bench.finetuning("--data_root", str(_exchange_image(bench.dataset()).parent)),
        ("1 of the 4 training images that the selection looked at have another content", "e.g. 2.", "select.py again"),
    ),
    Case(
        "another dataset where the selection's should lie now",
        lambda bench: bench.finetuning("--target", str(bench.dataset("other", images=3))),
        ("1 training images of the selection are no longer in dataset 'other'", "e.g. 3."),
    ),
    Case(
        "a selection from before and a dataset of another name",
        lambda bench: _selected(
            bench, "--target", str(bench.dataset("other")), drop=("train_contents", "checksums", "data_root")
        ),
        ("is from before contents were written down", "made for 'tiny', but this is dataset 'other'"),
    ),
    Case(
        "a selection whose pool is gone",
        lambda bench: _selected(bench, pool=str(bench.home / "old pool")),
        ("The pool of the selection is not at", "old pool any more. Say where it lies now with --pool."),
    ),
    Case(
        "a pool with other members of the same names",
        lambda bench: bench.finetuning("--pool", str(_retrained(bench))),
        ("are not those that the selection was made with", "select.py again"),
    ),
    Case(
        "a selection with fewer contents than images",
        lambda bench: _selected(bench, train_contents=["0" * 16]),
        ("expected one of train_contents for each of 4 train_images, but got 1",),
    ),
    Case(
        "a target without a pool and without a selection",
        lambda bench: bench.finetuning("--target", str(bench.dataset()), selection=""),
        ("--target goes with --pool", "or with --selection"),
    ),
]

CASES = [*STRAYS, *VERIFICATIONS, *SAME_AND_OTHER_DATA, *MOVED]
