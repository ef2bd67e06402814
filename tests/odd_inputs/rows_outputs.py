"""Output folders that hold something else, overlap an input or are at work; names that misbehave."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from tests.odd_inputs.bench import Bench, start
from tests.odd_inputs.case import Case

MINE = "mine, and worth more than any prediction"
LOCK = ".lock"
_HELD: list[int] = []


def _guard(folder: Path, name: str = "masks/0.png") -> Path:
    """Put a file of the user's into a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MINE)
    return path


def _kept(*names: str) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        for name in names:
            assert (bench.home / name).read_text() == MINE, name

    return check


def _images(bench: Bench, name: str = "train/images") -> str:
    """Images of a sound dataset in the bench's home."""
    if not (bench.home / "tiny").exists():
        bench.dataset()
    return str(bench.home / "tiny" / name)


def _predicting_around_the_truth(bench: Bench) -> Sequence[str]:
    images = _images(bench)
    _guard(bench.home / "tiny" / "train")
    return bench.predicting(images, "--output", "tiny/train")


def _predicting_into(bench: Bench, *strange: str) -> Sequence[str]:
    for name in strange:
        _guard(bench.home / "mine", name)
    return bench.predicting(_images(bench), "--output", "mine")


def _predicting_other_images(bench: Bench) -> Sequence[str]:
    assert start(*bench.predicting(_images(bench), "--output", "said")) == 0
    return bench.predicting(_images(bench, "test/images"), "--output", "said")


def _predicting_two_folders_of_one_name(bench: Bench) -> Sequence[str]:
    run = str(bench.ensemble())
    assert start(*bench.predicting(_images(bench), ensemble=run)) == 0
    return bench.predicting(_images(bench, "test/images"), ensemble=run)


def _four_and_two_masks(bench: Bench) -> None:
    masks = sorted(len(list(folder.glob("masks/*.png"))) for folder in (bench.home / "run" / "predictions").iterdir())
    assert masks == [2, 4]


def _predicting_through_a_link(bench: Bench) -> Sequence[str]:
    assert start(*bench.predicting(_images(bench), "--output", "said")) == 0
    _guard(bench.home / "truth", "0.png")
    shutil.rmtree(bench.home / "said" / "masks")
    (bench.home / "said" / "masks").symlink_to(bench.home / "truth")
    return bench.predicting(_images(bench), "--output", "said")


def _selecting_to(bench: Bench, output: str, pool: Path | None = None) -> Sequence[str]:
    dataset = bench.home / "tiny"
    chosen = str(pool) if pool else None
    return bench.selecting(
        "--output", output, pool=chosen, target=str(dataset if dataset.exists() else bench.dataset())
    )


def _selecting_into(bench: Bench, name: str) -> Sequence[str]:
    _guard(bench.home / "mine", name)
    return _selecting_to(bench, "mine")


def _linked(bench: Bench, leads_to: str) -> None:
    (bench.home / "link").symlink_to(leads_to)


def _selecting_to_a_link(bench: Bench, leads_to: str) -> Sequence[str]:
    _linked(bench, leads_to)
    return _selecting_to(bench, "link")


def _a_link_and_what_it_leads_to(bench: Bench) -> None:
    assert (bench.home / "link").is_symlink()
    assert (bench.home / "empty" / "selection.yaml").is_file()


def _selecting_to_an_empty_folder_by_a_link(bench: Bench) -> Sequence[str]:
    (bench.home / "empty").mkdir()
    return _selecting_to_a_link(bench, "empty")


def _selecting_to_an_older_selection(bench: Bench) -> Sequence[str]:
    (bench.selection("older") / ".muster").unlink(missing_ok=True)
    return _selecting_to(bench, "older")


def _finetuning_to_an_older_run(bench: Bench) -> Sequence[str]:
    (bench.ensemble("older") / ".muster").unlink(missing_ok=True)
    return bench.finetuning("--output", "older")


def _the_record_is_what_ran(bench: Bench) -> None:
    record = yaml.safe_load((bench.home / "older" / "config.yaml").read_text())
    assert record["selection"] == str(bench.stock / "selection")
    assert (record["output"], record["training"]["steps"]) == ("older", 5)
    assert not {"size", "metric", "train_images", "image_size"} & set(record)


def _finetuning_into(bench: Bench, *names: str) -> Sequence[str]:
    for name in names:
        _guard(bench.home / "mine", name)
    return bench.finetuning("--output", "mine")


def _finetuning_to_the_selection(bench: Bench, output: str) -> Sequence[str]:
    return bench.finetuning("--output", output, selection=str(bench.selection("parent/selection")))


def _training_into(bench: Bench, output: str, *more: str) -> Sequence[str]:
    # Without the overrides of the default configuration, whose members are others.
    return bench.training("--plan.overrides", "[]", *more, datasets=f"[{_images(bench, '.')}]", output=output)


def _training_into_a_foreign_folder(bench: Bench) -> Sequence[str]:
    _guard(bench.home / "mine", "members/notes.txt")
    return _training_into(bench, "mine")


def _with_damaged_marker(bench: Bench) -> Sequence[str]:
    (bench.home / "mine").mkdir()
    (bench.home / "mine" / ".muster").write_text("kind: [")
    return _selecting_to(bench, "mine")


def _held(bench: Bench, folder: Path, words: Sequence[str]) -> Sequence[str]:
    """As another process does that is at work there: a second open file is enough to collide."""
    folder.mkdir(parents=True, exist_ok=True)
    number = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(number, fcntl.LOCK_EX)
    _HELD.append(number)
    return words


def _let_go(bench: Bench) -> None:
    while _HELD:
        os.close(_HELD.pop())


def _emptying_what_is_no_cache(bench: Bench) -> Sequence[str]:
    member = bench.pool() / "members" / "a"
    return ["select.py", "--clear_cache", "--cache_dir", str(member)]


def _weights_are_there(bench: Bench) -> None:
    assert (bench.home / "pool" / "members" / "a" / "model.safetensors").is_file()


def _selecting_with_a_file_for_a_cache(bench: Bench) -> Sequence[str]:
    _guard(bench.home, "cache")
    return [*_selecting_to(bench, "chosen"), "--cache_dir", "cache"]


APART = "results would mix with what they are made from"

CASES = [
    Case(
        "predictions around images and ground truth",
        _predicting_around_the_truth,
        ("--output tiny/train holds --predict", APART),
        result=_kept("tiny/train/masks/0.png"),
    ),
    Case(
        "predictions into their images",
        lambda bench: bench.predicting(_images(bench), "--output", _images(bench)),
        ("is --predict", APART),
    ),
    Case(
        "predictions below their images",
        lambda bench: bench.predicting(_images(bench), "--output", _images(bench) + "/said"),
        ("lies in --predict", APART),
    ),
    Case(
        "predictions elsewhere in a dataset",
        lambda bench: bench.predicting(_images(bench), "--output", "tiny/test/said"),
        ("lies in the dataset",),
    ),
    Case(
        "predictions into somebody's masks",
        lambda bench: _predicting_into(bench, "masks/0.png"),
        ("mine holds 'masks', which is not part of predictions that muster wrote",),
        result=_kept("mine/masks/0.png"),
    ),
    Case(
        "predictions into a folder like ours but without its marker",
        lambda bench: _predicting_into(bench, "masks/0.png", "overlays/0.jpg", "classes.txt"),
        ("which is not part of predictions that muster wrote",),
        result=_kept("mine/masks/0.png", "mine/classes.txt"),
    ),
    Case(
        "predictions of other images into the same folder",
        _predicting_other_images,
        ("said holds predictions of", "train/images, not of"),
    ),
    Case(
        "two folders of images of one name",
        _predicting_two_folders_of_one_name,
        ("Predicted 2 of 2 images", "test-images-"),
        status=0,
        result=_four_and_two_masks,
    ),
    Case(
        "predictions through a link",
        _predicting_through_a_link,
        ("masks is a link: what it leads to is not replaced",),
        result=_kept("truth/0.png"),
    ),
    Case(
        "predictions into the ensemble's run",
        lambda bench: bench.predicting(_images(bench), "--output", "run", ensemble=str(bench.ensemble())),
        ("is --ensemble", APART),
    ),
    Case(
        "predictions into an output that is a device",
        lambda bench: bench.predicting(_images(bench), "--output", "/dev/full"),
        ("/dev/full is a",),
    ),
    Case("a selection into its target", lambda bench: _selecting_to(bench, "tiny"), ("is --target", APART)),
    Case(
        "a selection below its target", lambda bench: _selecting_to(bench, "tiny/train/s"), ("lies in --target", APART)
    ),
    Case("a selection around its target", lambda bench: _selecting_to(bench, "."), ("holds --target", APART)),
    Case("a selection into its pool", lambda bench: _selecting_to(bench, "pool", bench.pool()), ("is --pool", APART)),
    Case(
        "a selection among the members of its pool",
        lambda bench: _selecting_to(bench, "pool/members/s", bench.pool()),
        ("lies in --pool", APART),
    ),
    Case(
        "a selection into its pool by a link",
        lambda bench: (_linked(bench, "pool"), _selecting_to(bench, "link/s", bench.pool()))[1],
        ("lies in --pool", APART),
    ),
    Case(
        "a selection into somebody's folder",
        lambda bench: _selecting_into(bench, "notes.txt"),
        ("mine holds 'notes.txt', which is not part of a selection",),
        result=_kept("mine/notes.txt"),
    ),
    Case(
        "a selection into a folder with somebody's config.yaml",
        lambda bench: _selecting_into(bench, "config.yaml"),
        ("mine holds 'config.yaml', which is not part of a selection that muster wrote",),
        result=_kept("mine/config.yaml"),
    ),
    Case(
        "a selection into the folder of a run",
        lambda bench: _selecting_to(bench, str(bench.ensemble())),
        ("holds a fine-tuned ensemble, and a selection is to go there",),
    ),
    Case("a selection into a folder with a damaged marker", _with_damaged_marker, (".muster cannot be read as YAML",)),
    Case(
        "a selection into a file",
        lambda bench: (_guard(bench.home, "file"), _selecting_to(bench, "file"))[1],
        ("goes into a folder, but file is a file",),
        result=_kept("file"),
    ),
    Case(
        "a selection below a file",
        lambda bench: (_guard(bench.home, "file"), _selecting_to(bench, "file/s"))[1],
        ("--output: cannot write to file/s",),
        result=_kept("file"),
    ),
    Case(
        "a selection to a link to nothing",
        lambda bench: _selecting_to_a_link(bench, "nothing"),
        ("link is a link to nothing, which does not exist",),
    ),
    Case(
        "a selection to a link to itself",
        lambda bench: _selecting_to_a_link(bench, "link"),
        ("link",),
    ),
    Case(
        "a selection to an empty folder by a link, which is fine",
        _selecting_to_an_empty_folder_by_a_link,
        ("Next:",),
        status=0,
        result=_a_link_and_what_it_leads_to,
    ),
    Case("an older selection without a marker", _selecting_to_an_older_selection, ("Next:",), status=0),
    Case(
        "an older run without a marker",
        _finetuning_to_an_older_run,
        ("Next:",),
        status=0,
        result=_the_record_is_what_ran,
    ),
    Case(
        "a selection where no folder can be made",
        lambda bench: _selecting_to(bench, "/proc/muster/s"),
        ("--output: cannot write to /proc/muster/s",),
    ),
    Case(
        "a run into somebody's folder",
        lambda bench: _finetuning_into(bench, "work/thesis.txt"),
        ("mine holds 'work', which is not part of a fine-tuned ensemble that muster wrote",),
        result=_kept("mine/work/thesis.txt"),
    ),
    Case(
        "a run into a folder with somebody's records",
        lambda bench: _finetuning_into(bench, "config.yaml", "result.yaml"),
        ("which is not part of a fine-tuned ensemble that muster wrote",),
        result=_kept("mine/config.yaml", "mine/result.yaml"),
    ),
    Case(
        "a run into its selection",
        lambda bench: _finetuning_to_the_selection(bench, "parent/selection"),
        ("is --selection", APART),
    ),
    Case(
        "a run around its selection",
        lambda bench: _finetuning_to_the_selection(bench, "parent"),
        ("holds --selection", APART),
    ),
    Case(
        "a run into its pool",
        lambda bench: bench.finetuning("--output", str(bench.stock / "pool")),
        ("is --pool", APART),
    ),
    Case(
        "a pool into its dataset",
        lambda bench: _training_into(bench, "tiny/train/pool"),
        ("lies in dataset 1 of the plan", APART),
    ),
    Case("a pool around its dataset", lambda bench: _training_into(bench, "."), ("holds dataset 1 of the plan", APART)),
    Case(
        "a pool around all data",
        lambda bench: _training_into(bench, "data", "--data_root", "data/deep"),
        ("holds --data_root", APART),
    ),
    Case(
        "a pool into somebody's folder",
        _training_into_a_foreign_folder,
        ("mine holds 'members', which is not part of a pool that muster wrote",),
        result=_kept("mine/members/notes.txt"),
    ),
    Case(
        "a pool into a selection",
        lambda bench: _training_into(bench, str(bench.selection())),
        ("holds a selection, and a pool is to go there",),
    ),
    Case(
        "a run where another is at work",
        lambda bench: _held(bench, bench.home / "tuned", bench.finetuning()),
        ("another process is at work on a fine-tuned ensemble in tuned",),
        result=_let_go,
    ),
    Case(
        "a selection where another is at work",
        lambda bench: _held(bench, bench.home / "chosen", _selecting_to(bench, "chosen")),
        ("another process is at work on a selection in chosen",),
        result=_let_go,
    ),
    Case(
        "predictions where others are at work",
        lambda bench: _held(bench, bench.home / "said", bench.predicting(_images(bench), "--output", "said")),
        ("another process is at work on predictions in said",),
        result=_let_go,
    ),
    Case(
        "a cache that is the folder of a member",
        _emptying_what_is_no_cache,
        ("0.000 GB",),
        status=0,
        result=_weights_are_there,
    ),
    Case(
        "a cache that is a file",
        _selecting_with_a_file_for_a_cache,
        ("warning: Predictions are not kept for the next time", "Next:"),
        status=0,
        absent=(".py:", "UserWarning", "Errno"),
        result=_kept("cache"),
    ),
    Case(
        "a name with control characters",
        lambda bench: bench.selecting(pool="no\x1b[2J\x07where\rhere"),
        ("no\\x1b[2J\\x07where\\rhere",),
        absent=("\x1b", "\x07"),
    ),
    Case(
        "a name with a line feed",
        lambda bench: bench.selecting(pool="no\nselect.py: error: where"),
        ("There is no pool no select.py: error: where",),
    ),
    Case(
        "a name that turns the direction of writing",
        lambda bench: bench.selecting(pool="no\u202ewhere"),
        ("no\\u202ewhere",),
        absent=("\u202e",),
    ),
    Case(
        "a name with bytes that are no text",
        lambda bench: bench.selecting(pool=os.fsdecode(b"no\xffwhere")),
        ("no\\udcffwhere",),
    ),
    Case(
        "a name that is markup elsewhere",
        lambda bench: bench.selecting(pool="[bold]no:car:where[/bold]"),
        ("[bold]no:car:where[/bold]",),
    ),
]
