"""Options that are wrong, do not go together or have no effect."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from tests.odd_inputs.bench import Bench
from tests.odd_inputs.case import Case

PYTHON = ("<class", "NoneType", "collections.abc", "Union[", "usage:")
"""What no message may show."""


def _with_file(bench: Bench, script: str, content: object, *more: str) -> Sequence[str]:
    """A command whose options come from a file."""
    (bench.home / "mine.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return [script, "--config", "mine.yaml", *more]


def _idle_in_selection(option: str, value: str) -> Case:
    """An option of the choice at the start of a fit, for a choice that was made before."""
    return Case(
        f"--{option} beside a selection",
        lambda bench: bench.finetuning(f"--{option}", value),
        (f"--{option} has no effect on a selection that is made already",),
    )


def _idle(kind: str, script: str, options: Sequence[str], *words: str) -> Case:
    return Case(kind, lambda _: [script, *options], (*words, "no effect"))


CASES = [
    Case("a mistyped option", lambda _: ["select.py", "--sise", "3"], ("--sise", "Did you mean --size?")),
    Case("an abbreviated option", lambda _: ["select.py", "--siz", "3"], ("--siz is no option", "--size?")),
    Case(
        "a mistyped option of a group",
        lambda _: ["train.py", "--training.stepps=3"],
        ("--training.stepps is no option. Did you mean --training.steps?",),
        absent=PYTHON,
    ),
    Case("an option without its group", lambda _: ["train.py", "--batch_size", "3"], ("--training.batch_size?",)),
    Case(
        "an option of another group",  # batch_size of the group is spelt as nearly the same
        lambda _: ["finetune.py", "--training.image_size", "320"],
        ("--training.image_size is no option. Did you mean --image_size?",),
    ),
    Case("a mistyped group", lambda _: ["finetune.py", "--haed.steps", "3"], ("Did you mean --head.steps?",)),
    Case(
        "an option like no other", lambda _: ["train.py", "--xyzzy", "3"], ("--xyzzy is no option. (train.py --help",)
    ),
    Case(
        "a mistyped key in a configuration file",
        lambda bench: _with_file(bench, "train.py", {"training": {"stepps": 3}}),
        ("mine.yaml", "training.stepps is no option. Did you mean training.steps?"),
    ),
    Case(
        "a mistyped key in a group on the command line",
        lambda _: ["train.py", "--training", "{stepps: 3}"],
        ("training.stepps is no option. Did you mean training.steps?",),
    ),
    Case("a configuration file that is not there", lambda _: ["select.py", "--config", "no.yaml"], ("no.yaml",)),
    Case(
        "a configuration file that is a list",
        lambda bench: _with_file(bench, "select.py", "- size"),
        ("mine.yaml", "expected a YAML mapping"),
    ),
    Case(
        "a text for a number in a configuration file",
        lambda bench: _with_file(bench, "train.py", {"training": {"steps": "many"}}),
        ("training.steps: expected a whole number, but got 'many'",),
        absent=PYTHON,
    ),
    Case(
        "a text for a number",
        lambda _: ["train.py", "--training.steps", "many"],
        ("--training.steps: expected a whole number, but got 'many'",),
        absent=PYTHON,
    ),
    Case(
        "a text for a number or auto",
        lambda _: ["select.py", "--size", "three"],
        ("--size: expected a whole number or auto, but got 'three'",),
        absent=PYTHON,
    ),
    Case(
        "null where a number must be",
        lambda _: ["train.py", "--training.steps", "null"],
        ("--training.steps: expected a whole number, but got nothing",),
        absent=PYTHON,
    ),
    Case(
        "one number for a range",
        lambda _: ["train.py", "--training.scale_range", "[1]"],
        ("--training.scale_range: expected a list of 2, [a number, a number], but got [1]",),
        absent=PYTHON,
    ),
    Case(
        "a number for a group",
        lambda _: ["train.py", "--training", "3"],
        ("--training: expected a mapping", "'3'"),
        absent=PYTHON,
    ),
    Case(
        "a choice that is none",
        lambda _: ["select.py", "--search", "random"],
        ("--search: expected one of auto, exhaustive, greedy, beam, racing, but got 'random'",),
    ),
    Case(
        "an override with an unknown key",
        lambda _: ["train.py", "--plan.overrides", "[{members: '*', step: 3}]"],
        ("--plan.overrides[0]: expected a mapping with the keys members, datasets, steps", "'step': 3"),
        absent=PYTHON,
    ),
    Case(
        "neither true nor false",
        lambda _: ["train.py", "--list=maybe"],
        ("--list: expected true or false, but got 'maybe'",),
        absent=PYTHON,
    ),
    Case("an option without its value", lambda _: ["select.py", "--size"], ("--size: expected a value after it",)),
    Case("a word without an option", lambda _: ["select.py", "tiny"], ("'tiny' is not expected here",)),
    Case(
        "a list with spaces",
        lambda _: ["select.py", "--metrics", "logme", "parc"],
        ("'parc' is not expected here", "A list is written a,b"),
    ),
    Case(
        "an unknown metric in a list with commas",
        lambda bench: bench.selecting("--metrics", "logme,parcc", target=str(bench.dataset())),
        ("Did you mean 'parc'?",),
    ),
    Case(
        "a list with commas, which is fine",
        lambda bench: bench.selecting("--metrics", "nce,leep", target=str(bench.dataset())),
        ("NCE", "LEEP", "Next:"),
        status=0,
    ),
    Case(
        "an option that must be given",
        lambda bench: _with_file(bench, "select.py", {"pool": "pool"}),
        ("--target missing: give it on the command line, or in a file with --config",),
        absent=PYTHON,
    ),
    Case(
        "a pool that is not there",
        lambda bench: bench.selecting(pool="nowhere", target=str(bench.dataset())),
        ("There is no pool nowhere",),
    ),
    Case(
        "an ensemble without images to predict",
        lambda bench: bench.finetuning("--ensemble", str(bench.stock / "run"), selection=""),
        ("--ensemble is what --predict predicts with",),
    ),
    _idle_in_selection("size", "3"),
    _idle_in_selection("metric", "leep"),
    _idle_in_selection("train_images", "2"),
    _idle_in_selection("image_size", "32"),
    Case(
        "an option without effect in a configuration file",
        lambda bench: _with_file(bench, "finetune.py", {"size": 2, "selection": str(bench.selection())}),
        ("--size has no effect on a selection that is made already",),
    ),
    _idle("training options for prediction", "finetune.py", ["--predict", ".", "--training.steps", "3"], "--predict"),
    _idle("a size for prediction", "finetune.py", ["--predict", ".", "--size", "3"], "--size", "--predict"),
    _idle("a selection for prediction", "finetune.py", ["--predict", ".", "--selection", "s"], "--selection"),
    _idle(
        "two things for prediction", "finetune.py", ["--predict=.", "--pool=p", "--target=t"], "--pool, --target have"
    ),
    _idle(
        "training options to list a pool", "train.py", ["--list", "--training.steps", "3"], "--training.steps", "--list"
    ),
    _idle("workers to verify a pool", "train.py", ["--verify", "--workers", "2"], "--workers", "--verify"),
    Case("a pool listed and verified", lambda _: ["train.py", "--list", "--verify"], ("give one of them",)),
    _idle("a pool for an emptied cache", "select.py", ["--clear_cache", "--pool", "p"], "--pool", "--clear_cache"),
    _idle("a seed for an emptied cache", "select.py", ["--seed", "3", "--clear_cache"], "--seed", "--clear_cache"),
    _idle(
        "a reference that no metric asks for", "select.py", ["--reference", "m"], "--reference", "without rsa or dds"
    ),
    _idle("a hard fraction that no metric asks for", "select.py", ["--hard_fraction", ".5"], "without +haste"),
    _idle("a cache that is switched off", "select.py", ["--cache_dir", "c", "--cache_gb", "0"], "--cache_dir"),
    _idle("a place of data for built-in data", "select.py", ["--data_root", "d"], "--data_root", "built in"),
    _idle("a place of data for a built-in plan", "train.py", ["--data_root", "d"], "--data_root", "built in"),
    _idle(
        "a validation curve without validation images",
        "train.py",
        ["--training.validate_every", "5"],
        "--training.validate_every",
        "without --training.validation_fraction",
    ),
    _idle(
        "a place of validation rates without rates",
        "train.py",
        ["--training.held_out_fraction", ".3", "--plan.overrides", "[]"],
        "--training.held_out_fraction",
        "without --training.learning_rates",
    ),
    Case(
        "a list of metrics longer than a file's name may be",
        lambda bench: bench.selecting(
            "--metrics",
            ",".join(["ms_leep", "e_leep", "iou_eep", "soft_iou_eep", "base"] * 9),
            target=str(bench.dataset()),
        ),
        ("Report: chosen/report.html",),
        status=0,
    ),
    *(
        Case(
            f"--{option} that another option overrules",
            lambda bench, option=option, value=value, more=more: bench.finetuning(f"--{option}", value, *more),
            (f"--{option} has no effect",),
        )
        for option, value, more in (
            ("head.learning_rate", "0.1", ()),
            ("head.batch_size", "4", ("--head.optimizer", "lbfgs")),
            ("head.pixels_per_image", "9", ("--head.optimizer", "sgd")),
            ("training.held_out_fraction", "0.3", ()),
            ("training.learning_rate", "0.2", ("--training.learning_rates", "[0.1, 0.2]")),
        )
    ),
]
