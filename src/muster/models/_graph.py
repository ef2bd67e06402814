"""What a network is made of, read off the record that automatic differentiation keeps of one pass.

That record shows what modules alone cannot: which layers follow one another, and which are never asked.
"""

from __future__ import annotations

from torch import Tensor
from torch.autograd.graph import Node

_WEIGHT_LAYERS = ("ConvolutionBackward", "AddmmBackward", "MmBackward", "LinearBackward")


def trace(output: Tensor) -> tuple[int, set[Tensor]]:
    """Follow a network's output back to where it came from.

    Args:
        output: What the network put out, with its gradient record.

    Returns:
        The largest number of convolutions and linear layers on any path to the output, and the parameters it uses.
    """
    if output.grad_fn is None:
        return 0, set()
    nodes = _inputs_first(output.grad_fn)
    layers: dict[Node, int] = {}
    for node in nodes:
        before = max((layers[parent] for parent in _parents(node)), default=0)
        layers[node] = before + node.name().startswith(_WEIGHT_LAYERS)
    used = {node.variable for node in nodes if hasattr(node, "variable")}
    return layers[nodes[-1]], used


def _parents(node: Node) -> list[Node]:
    """The operations whose results this one took."""
    return [parent for parent, _ in node.next_functions if parent is not None]


def _inputs_first(last: Node) -> list[Node]:
    """All operations behind the last, each after those it depends on (no recursion: networks are deep)."""
    ordered: list[Node] = []
    visited: set[Node] = set()
    stack = [(last, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            ordered.append(node)
        elif node not in visited:
            visited.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in _parents(node))
    return ordered
