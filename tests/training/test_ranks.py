"""Two processes that share evaluation and the head, as srun starts them on two machines, end like one alone."""

from __future__ import annotations

import socket
import warnings
from pathlib import Path

import pytest
import torch

from tests.training.tasks_of_ranks import compute, one_of


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_two_processes_evaluate_and_learn_heads_like_one(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    alone = compute(tmp_path / "one")
    arguments = (2, free_port(), tmp_path / "two")
    other = torch.multiprocessing.get_context("spawn").Process(target=one_of, args=(1, *arguments))
    other.start()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # no errors here, as in the other process
        one_of(0, *arguments)  # this process is the first of the two, as it has imported everything
    other.join()
    assert other.exitcode == 0
    for rank in range(2):
        found = torch.load(tmp_path / "two" / f"{rank}.pt", weights_only=True)
        assert found.keys() == alone.keys()
        for name, values in alone.items():
            if name.startswith(("confusion", "by image")):
                # One pixel at a tie may fall either way when images share a batch.
                assert (found[name].long() - values.long()).abs().sum() <= 4, name
                assert found[name].sum() > 0
            elif name == "lbfgs":
                # The optimum is flat: rounding in the members' scores moves the weights, and hardly the loss.
                torch.testing.assert_close(found[name], values, rtol=0, atol=0.05)
            elif name.startswith("held out"):
                # A pixel at a tie may fall either way.
                torch.testing.assert_close(found[name], values, rtol=0, atol=0.02)
            else:
                torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    assert not torch.equal(alone["sgd"], torch.tensor([1.0, 0.0]).view(2, 1, 1).expand(2, 2, 3))
