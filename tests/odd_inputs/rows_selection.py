"""Targets that nothing is known of, members that are dead or alike, and hard subsets that cannot be had."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from muster.pool import Member, write_member
from muster.tasks.source_sample import sample_source
from tests.helpers import make_member, make_target, shown
from tests.odd_inputs.bench import Bench
from tests.odd_inputs.case import Case

GUESSING = "No member of this pool does better on tiny than guessing by class frequency"
DEAD = "it predicts the same at every probe pixel"


def noise(bench: Bench, classes: int = 3, images: int = 4) -> str:
    """A dataset whose labels are drawn at random, pixel by pixel."""
    folder = bench.dataset(images=images, classes=[f"class {index}" for index in range(classes)])
    for path in folder.glob("*/masks/*.png"):
        generator = np.random.default_rng(int(path.stem))
        Image.fromarray(generator.integers(0, classes, (64, 64)).astype(np.uint8)).save(path)
    return str(folder)


def one_class_an_image(bench: Bench) -> str:
    """A dataset in which the class of an image has nothing to do with it."""
    folder = bench.dataset(images=9)
    for path in folder.glob("*/masks/*.png"):
        Image.fromarray(np.full((64, 64), int(path.stem) % 3, np.uint8)).save(path)
    return str(folder)


def blank_images(bench: Bench) -> str:
    """A dataset whose images are all of one grey."""
    folder = bench.dataset()
    for path in folder.glob("*/images/*.png"):
        Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(path)
    return str(folder)


def make_dead(member: Member) -> None:
    """Set all weights to zero, as a training that collapsed leaves them."""
    model = member.load_model()
    with torch.no_grad():
        for value in model.state_dict().values():
            value.zero_()
    write_member(member.folder, model, member.card, {"nothing": torch.zeros(1)})


def pool_with_dead(bench: Bench, *names: str) -> str:
    """The stock's pool, in which some members are dead."""
    folder = bench.pool()
    for name in names:
        make_dead(Member.open(folder / "members" / name))
    return str(folder)


def copies(bench: Bench, count: int, others: int = 0) -> str:
    """A pool of copies of one member, and some others."""
    folder = bench.home / "copies"
    for place in range(count):
        make_member(folder, f"copy-{place}", seed=1)
    for place in range(others):
        make_member(folder, f"other-{place}", seed=2 + place)
    return str(folder)


def pool_with_samples(bench: Bench) -> str:
    """Three members that carry a sample of their source's images, two of them of one source."""
    folder, source = bench.home / "sampled", make_target(3, name="elsewhere")
    for seed, name in enumerate("abc"):
        member = make_member(folder, name, seed, dataset="elsewhere" if name != "c" else "somewhere")
        sample = sample_source(member.load_model(), source.train, shown(source.train, 64), seed)
        write_member(member.folder, member.load_model(), member.card, sample)
    return str(folder)


def hard(*more: str, metrics: str = "leep+haste_cs") -> Callable[[Bench], list[str]]:
    """``select.py`` with metrics on hard subsets and further options."""
    return lambda bench: bench.selecting("--metrics", f"[{metrics}]", *more, target=str(bench.dataset()))


def read_guessing(folder: Path) -> dict[str, object]:
    """What the selection says of guessing."""
    content: dict[str, object] = yaml.safe_load((folder / "selection.yaml").read_text("utf-8"))["guessing"]
    return content


def claims_nothing(bench: Bench) -> None:
    """The report and the record say what the terminal says."""
    report = (bench.home / "chosen" / "report.html").read_text("utf-8")
    assert "No member of the pool does better on tiny than guessing." in report
    assert "<h1>Fine-tune" not in report
    assert read_guessing(bench.home / "chosen")["better"] == []


CASES = [
    Case(
        "labels that are noise",
        lambda bench: bench.selecting(target=noise(bench)),
        (GUESSING, "The first 2 of 4 by SoftIoU-EEP, no recommendation:", "To fine-tune them all the same"),
        status=0,
        absent=("The chosen 2",),
        result=claims_nothing,
    ),
    Case(
        "labels that are noise, of 80 classes",
        lambda bench: bench.selecting(target=noise(bench, classes=80)),
        (GUESSING, "no recommendation"),
        status=0,
        absent=("The chosen 2",),
        result=claims_nothing,
    ),
    Case(
        "labels that are noise, by counting",
        lambda bench: bench.selecting("--predictor", "eep", "--metric", "e_leep", target=noise(bench, images=8)),
        (GUESSING, "no recommendation"),
        status=0,
        absent=("The chosen 2",),
        result=claims_nothing,
    ),
    Case(
        "labels that have nothing to do with the images",
        lambda bench: bench.selecting(target=one_class_an_image(bench)),
        (GUESSING,),
        status=0,
        absent=("The chosen 2",),
        result=claims_nothing,
    ),
    Case(
        "images of one grey",
        lambda bench: bench.selecting(target=blank_images(bench)),
        (GUESSING,),
        status=0,
        absent=("The chosen 2",),
    ),
    Case(
        "a dead member and a metric of whole images to choose by",
        lambda bench: bench.selecting(
            "--metric", "parc", target=str(bench.dataset(images=6)), pool=pool_with_dead(bench, "b")
        ),
        (DEAD, "Left out: b", "The chosen 2 of 3, by PARC"),
        status=0,
    ),
    Case(
        "a dead member beside metrics that it has no score by",
        lambda bench: bench.selecting(
            "--metrics",
            "[parc,h_score,h_score_shrinkage]",
            target=str(bench.dataset(images=6)),
            pool=pool_with_dead(bench, "a", "d"),
        ),
        (DEAD, "Left out: a", "Left out: d", "PARC", "H-score (shrinkage)"),
        status=0,
        absent=("Metric left out", "is left out: it cannot be computed"),
    ),
    Case(
        "a pool of dead members",
        lambda bench: bench.selecting(target=str(bench.dataset()), pool=pool_with_dead(bench, *"abcd")),
        ("only 0 of the 4", DEAD),
    ),
    Case(
        "a metric that no member has a score by",
        lambda bench: bench.selecting("--metric", "parc", target=str(bench.dataset(images=2))),
        ("Metric 'parc' cannot be chosen by: it cannot be computed for member 'a'", "Choose by another metric."),
    ),
    Case(
        "a pool of copies of one member",
        lambda bench: bench.selecting(target=str(bench.dataset()), pool=copies(bench, 4)),
        ("Nothing can be chosen: all 6 candidates have the same score by SoftIoU-EEP",),
    ),
    Case(
        "copies of one member that lead",
        lambda bench: bench.selecting("--metric", "nce", target=str(bench.dataset()), pool=copies(bench, 4, others=1)),
        ("level with", "the first by name"),
        status=0,
        absent=("0.0000 ahead",),
    ),
    Case(
        "a hardness model that is not in the pool",
        hard("--hardness_model", "small_fnp"),
        ("hardness_model: Unknown candidate or architecture 'small_fnp'. Did you mean 'small_fpn'?",),
    ),
    Case(
        "two hardness models for one source",
        hard("--hardness_model", "[a,b]"),
        ("hardness_model: 'a' and 'b' are both for members of elsewhere",),
    ),
    Case(
        "a hardness model that nothing asks for",
        hard("--hardness_model", "a", metrics="leep"),
        ("--hardness_model has no effect without +haste_ca or +haste_cs",),
    ),
    Case(
        "a hardness model that is named",
        hard("--hardness_model", "c"),
        ("The hardness model is c for members of elsewhere.", "The linear probe was not fitted anew"),
        status=0,
    ),
    Case(
        "EEPs to be kept where none are counted",
        hard("--hard_eep", "whole"),
        ("--hard_eep has no effect without an ensemble metric on hard subsets",),
    ),
    Case(
        "EEPs to be kept where no ensemble is scored on hard subsets",
        hard("--hard_eep", "whole", "--predictor", "eep"),
        ("--hard_eep has no effect without an ensemble metric on hard subsets",),
    ),
    Case(
        "EEPs to be kept on hard subsets where none are counted",
        hard("--hard_eep", "whole", metrics="e_leep+haste_cs"),
        ("--hard_eep has no effect with the linear probe, which makes no EEPs",),
    ),
    Case(
        "a hard fraction beside buckets alone",
        hard("--hard_fraction", "0.5", metrics="e_leep+haste_cs_1of2"),
        ("--hard_fraction has no effect on buckets alone",),
    ),
    Case(
        "EEPs that are kept on hard subsets",
        hard("--hard_eep", "whole", "--predictor", "eep", metrics="e_leep+haste_cs"),
        ("with the EEPs of the whole probe set",),
        status=0,
    ),
    Case(
        "a bucket beyond the last one",
        hard(metrics="leep+haste_cs_6of5"),
        ("'haste_cs_6of5' asks for bucket 6 of 5. Buckets count from 1, the hardest.",),
    ),
    Case(
        "a bucket before the first one",
        hard(metrics="leep+haste_cs_0of5"),
        ("Unknown wrapper 'haste_cs_0of5'. Did you mean 'haste_cs_KofN'?",),
    ),
    Case(
        "more buckets than images",
        lambda bench: bench.selecting(
            "--metrics",
            "[leep+haste_ca_1of9,leep+haste_ca_2of2]",
            target=str(bench.dataset()),
            pool=pool_with_samples(bench),
        ),
        (
            "Metric left out: HASTE(CA 1/9)-LEEP",
            "`buckets` between 1 and the 4 samples",
            "HASTE(CA 2/2)-LEEP",
            "a for members of elsewhere, c for members of somewhere",
        ),
        status=0,
    ),
    Case(
        "a hard part that is nothing",
        hard("--hard_fraction", "0"),
        ("hard_fraction: expected more than 0 and at most 1, but got 0",),
    ),
    Case(
        "no image for the sample of the source",
        lambda bench: bench.training("--training.sample_images", "0", datasets=f"[{bench.dataset()}]"),
        ("sample_images: expected a whole number, at least 1, but got 0",),
    ),
    Case(
        "a sample of the source that is gone",
        lambda bench: bench.selecting(
            "--metrics", "[leep+haste_ca]", target=str(bench.dataset()), pool=without_samples(bench)
        ),
        ("compare with the members' own source images, but a, b, c, d carry no sample of them",),
    ),
]


def without_samples(bench: Bench) -> str:
    """The stock's pool; its members carry no true sample of a source."""
    return str(shutil.copytree(bench.stock / "pool", bench.home / "bare"))
