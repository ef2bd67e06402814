"""Matrix products."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def products(
    left: Float[Tensor, "rows dimensions"], right: Float[Tensor, "others dimensions"]
) -> Float[Tensor, "rows others"]:
    """Products of each row with each other one, in the type that both have.

    On the CPU they are NumPy's, which keeps to float32 whatever ``torch.set_float32_matmul_precision`` allows.
    """
    if left.device.type == "cpu":
        return torch.from_numpy(left.numpy() @ right.numpy().T)
    return left @ right.T
