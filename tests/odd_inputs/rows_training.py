"""Settings of train.py and finetune.py that cannot work, odd sizes, overrides and hardware; numbers of select.py."""

from __future__ import annotations

from collections.abc import Callable

import yaml

from muster.pool import Pool
from tests.helpers import make_member
from tests.odd_inputs.bench import Bench, start
from tests.odd_inputs.case import Case

MEMBER = "tiny-small_fpn"


def _training(*more: str, **changes: object) -> Callable[[Bench], list[str]]:
    def command(bench: Bench) -> list[str]:
        bench.dataset(**changes)
        return bench.training("--plan.overrides", "[]", *more)

    return command


def _finetuning(*more: str) -> Callable[[Bench], list[str]]:
    return lambda bench: bench.finetuning(*more)


def _selecting(*more: str) -> Callable[[Bench], list[str]]:
    return lambda bench: bench.selecting(*more, target=str(bench.stock / "tiny"))


def _nothing_made(bench: Bench) -> None:
    made = [path for name in ("new_pool", "tuned", "chosen") for path in (bench.home / name).rglob("*.safetensors")]
    assert made == []


def _refused(kind: str, command: Callable[[Bench], list[str]], *words: str) -> Case:
    return Case(kind, command, words, result=_nothing_made)


def _trained(bench: Bench) -> None:
    (member,) = Pool.open(bench.home / "new_pool")
    assert member.name == MEMBER


def _finetuning_of_a_net_with_pooling(*more: str) -> Callable[[Bench], list[str]]:
    """A selection whose first member pools the whole image before a batch normalisation."""

    def command(bench: Bench) -> list[str]:
        make_member(bench.home / "pool", "a", 0, classes=3, architecture="deeplabv3:resnet18")
        make_member(bench.home / "pool", "b", 1, classes=3)
        words = bench.selecting(pool="pool", target=str(bench.stock / "tiny"))
        assert start(*words) == 0
        return bench.finetuning(*more, selection="chosen")

    return command


_OUT_OF_RANGE = [
    ("steps", "0"), ("steps", "1000000000000"), ("batch_size", "-1"), ("batch_size", "10000000"),
    ("learning_rate", ".nan"), ("learning_rate", ".inf"), ("learning_rate", "-0.1"), ("momentum", ".nan"),
    ("momentum", "1.0"), ("weight_decay", ".inf"), ("weight_decay", "-1"), ("crop_size", "1000000"),
    ("scale_range", "[.nan, 1.0]"), ("scale_range", "[1.0, .inf]"), ("checkpoint_every", "0"), ("seed", "-1"),
    ("seed", "9223372036854775808"), ("held_out_fraction", "1.0"), ("learning_rates", "[0.1, 0.1]"),
    ("learning_rates", "[0.1, .nan]"),
]  # fmt: skip

_OF_SOURCES = [
    ("image_size", "1000000"), ("image_size", "0"), ("train_images", "0"), ("train_images", "-3"),
    ("validation_fraction", ".nan"), ("validation_fraction", "1.5"), ("validate_every", "0"),
]  # fmt: skip

_OF_SELECTING = [
    ("memory_gb", "-1"), ("memory_gb", ".nan"), ("memory_gb", ".inf"), ("cache_gb", "-1"), ("cache_gb", ".nan"),
    ("num_workers", "-2"), ("num_workers", "1000000"), ("seed", "-1"), ("seed", "9223372036854775808"),
    ("image_size", "1000000"), ("batch_size", "0"), ("pixels_per_image", "0"), ("train_images", "0"),
    ("max_inference_seconds", ".nan"), ("max_inference_seconds", ".inf"),
]  # fmt: skip

_HARDWARE = [("devices", "0"), ("devices", "100000"), ("num_workers", "-2"), ("num_workers", "100000")]

_OF_HEADS = [
    ("steps", "0"), ("penalty", ".nan"), ("learning_rate", "0"), ("momentum", "1.5"), ("batch_size", "0"),
    ("pixels_per_image", "-1"),
]  # fmt: skip


def _chosen_at_start(*more: str) -> Callable[[Bench], list[str]]:
    """finetune.py that chooses two members itself, and learns their head by gradient descent."""

    def command(bench: Bench) -> list[str]:
        what = ["--pool", str(bench.stock / "pool"), "--target", str(bench.stock / "tiny"), "--size", "2"]
        return bench.finetuning(*what, "--head.optimizer", "sgd", "--head.steps", "3", *more, selection="")

    return command


def _rates_are_told(bench: Bench) -> None:
    result = yaml.safe_load((bench.home / "tuned" / "result.yaml").read_text())
    assert set(result["learning_rates"].values()) == {0.01}
    assert {next(iter(values.values())) for values in result["held_out"].values()} == {None}
    history = (bench.home / "tuned" / "history.csv").read_text().splitlines()
    assert history[0].endswith("loss/learned head")
    assert not (bench.home / "tuned" / "work").exists()


CASES = [
    *(
        _refused(f"finetune.py with {name} {value}", _finetuning(f"--training.{name}", value), f"{name}: expected")
        for name, value in _OUT_OF_RANGE
    ),
    *(
        _refused(f"train.py with {name} {value}", _training(f"--training.{name}", value), f"{name}: expected")
        for name, value in _OF_SOURCES
    ),
    *(
        _refused(f"select.py with {name} {value}", _selecting(f"--{name}", value), f"{name}: expected")
        for name, value in _OF_SELECTING
    ),
    *(
        _refused(f"{name} {value} as hardware", _finetuning(f"--hardware.{name}", value), f"hardware.{name}: expected")
        for name, value in _HARDWARE
    ),
    *(
        _refused(f"a head with {name} {value}", _finetuning(f"--head.{name}", value), f"head.{name}: expected")
        for name, value in _OF_HEADS
    ),
    Case(
        "members chosen at the start, and one of two rates diverges",
        _chosen_at_start("--training.learning_rates", "[1.0e+30, 0.01]"),
        ("Report: tuned/report.html",), status=0, result=_rates_are_told,
    ),
    Case(
        "rates that all diverge", _finetuning("--training.learning_rates", "[1.0e+30, 1.0e+29]"),
        ("diverged at every rate (1e+30, 1e+29)", "Give smaller learning_rates"), result=_nothing_made,
    ),
    Case(
        "rates to choose from and one image",
        _training("--training.learning_rates", "[0.1, 0.01]", images=1),
        ("Expected at least 2 images in split 'train' of dataset 'tiny' to hold some out",), status=1,
    ),
    _refused("one candidate to confirm", _finetuning("--confirm", "1"), "confirm: expected 0, or at least 2"),
    _refused("a rate that is no list", _finetuning("--training.learning_rates", "0.1"), "training.learning_rates"),
    _refused("true as a number of steps", _finetuning("--training.steps", "true"), "training.steps"),
    _refused("true as a rate", _finetuning("--training.learning_rate", "true"), "training.learning_rate"),
    _refused("true as a seed of a selection", _selecting("--seed", "true"), "seed"),
    _refused(
        "a batch that two devices do not divide",
        _finetuning("--hardware.devices", "2", "--training.batch_size", "3"),
        "batch_size: expected a multiple of the 2 devices", "Try 2 or 4",
    ),
    _refused(
        "a batch smaller than the devices, for a pool",
        _training("--hardware.devices", "2", "--training.batch_size", "1"),
        MEMBER, "batch_size: expected a multiple of the 2 devices", "Try 2,",
    ),
    _refused(
        "a batch of one for a network that pools the image before a batch norm",
        _training("--training.batch_size", "1", "--plan.architectures", "[deeplabv3:resnet18]"),
        "tiny-deeplabv3_resnet18: batch_size: expected at least 2",
    ),
    _refused(
        "a batch of one to fine-tune such a network",
        _finetuning_of_a_net_with_pooling("--training.batch_size", "1"),
        "batch_size: expected at least 2 for a (deeplabv3:resnet18)",
    ),
    Case(
        "a batch of one for a network that can",
        _training("--training.batch_size", "1"), (MEMBER,), status=0, result=_trained,
    ),
    _refused(
        "an override out of range",
        _training("--plan.overrides", "[{members: 'tiny-*', momentum: 2.0}]"),
        "plan.overrides for 'tiny-*': momentum: expected",
    ),
    _refused(
        "an override that leaves a batch that the devices do not divide",
        _training("--hardware.devices", "2", "--plan.overrides", "[{members: 'tiny-*', batch_size: 5}]"),
        MEMBER, "batch_size: expected a multiple of the 2 devices",
    ),
    Case(
        "more reading processes than images",
        _training("--hardware.num_workers", "3", images=2, tests=1), (MEMBER,), status=0, result=_trained,
    ),
    Case(
        "one image to hold out a validation image from",
        _training("--training.validation_fraction", "0.5", images=1),
        ("Expected at least 2 images in split 'train' of dataset 'tiny' to hold some out",),
        status=1, result=_nothing_made,
    ),
    Case("a rate at which the fit diverges", _finetuning("--training.learning_rate", "1.0e+30"),
         ("The training loss of", "smaller learning_rate than 1e+30"), result=_nothing_made),
    Case("a rate at which a member of a pool diverges", _training("--training.learning_rate", "1.0e+30"),
         (f"FAILED {MEMBER}", "smaller learning_rate than 1e+30"), status=1, result=_nothing_made),
    _refused("a schedule that is not known", _finetuning("--training.schedule", "quadratic"), "training.schedule"),
    _refused("a loss that is not known", _finetuning("--training.loss", "logits"), "loss: Unknown loss 'logits'"),
]  # fmt: skip
