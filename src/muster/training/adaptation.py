"""How much of a member fine-tuning changes: all of it, its head alone, or its head and small additions to attention.

LoRA (Hu et al., 2021) adds to each linear layer of the attention blocks the product of two thin matrices, and only
those and the head learn. Before a member is kept they are added to its weights, so it is a network like any other.
"""

from __future__ import annotations

import torch
from torch import nn

from muster.errors import ConfigError
from muster.models import SourceModel
from muster.models.centre_net import CentreNet
from muster.models.pooled import Pooled
from muster.training.settings import Adapt

_ADAPTER = "lora_"
"""How peft names what it adds."""


def adapt_member(name: str, model: SourceModel, adapt: Adapt, rank: int, seed: int) -> None:
    """Say which parameters of a member are trained; it has its new head already.

    Args:
        name: What errors call it.
        model: It is changed.
        adapt: ``full`` leaves all as they are.
        rank: Rank of what LoRA adds to a layer.
        seed: The seed of its initial weights. The global random state is left as it was.

    Raises:
        ConfigError: If LoRA is asked for and the member has no attention, or peft is not installed; or if the member
            finds objects.
    """
    if adapt == "full":
        return
    if isinstance(model, CentreNet):
        raise ConfigError(
            f"training.adapt: expected full, as what finds objects is more than a linear head on the features of "
            f"{name}, but got {adapt}."
        )
    head = {id(parameter) for parameter in head_of(model).parameters()}
    for parameter in model.parameters():
        if id(parameter) not in head:
            parameter.requires_grad_(False)
    if adapt == "lora":
        _inject(name, model, rank, seed)


def head_of(model: SourceModel) -> nn.Module:
    """The final classifier of a member."""
    network = model.inner if isinstance(model, Pooled) else model
    return network.get_submodule("head")


def _inject(name: str, model: SourceModel, rank: int, seed: int) -> None:
    layers = attention_layers(model)
    if not layers:
        raise ConfigError(
            f"training.adapt: lora adds to attention blocks, and {name!r} ({model.architecture}) has none. Choose "
            "transformers, or use --training.adapt full or frozen."
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ConfigError('training.adapt: lora needs peft: pip install "muster[lora]".') from error
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    head = {id(parameter) for parameter in head_of(model).parameters()}
    for place, parameter in model.named_parameters():
        parameter.requires_grad_(_ADAPTER in place or id(parameter) in head)


def attention_layers(model: nn.Module) -> list[str]:
    """Names of the linear layers within attention blocks, whatever library the blocks are of.

    Args:
        model: Any network.

    Returns:
        In order; empty for a network without attention.
    """
    blocks = [place for place, module in model.named_modules() if _is_attention(module)]
    return [
        place
        for place, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(place.startswith(f"{block}.") for block in blocks)
    ]


def _is_attention(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "attention" in name or "attn" in name


@torch.no_grad()
def merge_adapters(model: nn.Module) -> None:
    """Add what LoRA has learned to the weights it was added to, and take its layers out; others are left as they are.

    Args:
        model: It is changed, and computes the same as before to within rounding.
    """
    if not any(_ADAPTER in place for place, _ in model.named_parameters()):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for place, module in [*model.named_modules()]:
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, name = place.rpartition(".")
            setattr(model.get_submodule(parent), name, module.get_base_layer())
