"""The density of a draw at the very arguments that it was made from, along which its noise stays the same.

``z = loc + noise * scale`` has the log-density ``-noise**2 / 2 - log(scale)`` plus a constant. In an objective that is
differentiated with respect to the arguments only, ``z`` following them, nothing but ``log(scale)`` varies: the paths
through ``z`` and through ``loc`` cancel, and need not be walked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from aleator.randomness import is_interpreted

if TYPE_CHECKING:
    from aleator.distributions.arguments import Argument
    from aleator.distributions.distribution import Distribution

__all__ = ["is_shifted_noise", "log_prob_of_draw"]


def log_prob_of_draw(fn: Distribution, value: Tensor) -> Tensor:
    """Return ``fn.log_prob(value)`` for who differentiates with respect to arguments only, the draw following them.

    Where the value is such a draw, what its density has in common with the path of the draw is left out of the graph:
    the derivative with respect to the value alone is then not that of the density.
    """
    return fn._draw_log_prob(value, 0)


def is_shifted_noise(value: Tensor, loc: Argument, scale: Argument) -> bool:
    """Tell whether a value's graph says that it is ``loc`` plus noise times ``scale``, the noise without a graph.

    Then ``(value - loc) / scale`` is a constant to autograd, whatever made the value. A value that was cut from its
    graph, replaced, or that somebody listens to (a hook, ``retain_grad``), gives False.
    """
    if is_interpreted() or value._backward_hooks or value.retains_grad:
        return False
    node: Any = value.grad_fn
    if isinstance(loc, Tensor):
        if node is None or node.name() != "AddBackward0" or node._saved_alpha != 1:
            return False
        start, (node, _) = node.next_functions
        if not _leads_to(start, loc):
            return False
    elif loc != 0.0:
        return False
    if not isinstance(scale, Tensor) or not scale.requires_grad:
        return node is None and value.requires_grad
    if node is None or node.name() != "MulBackward0":
        return False
    (noise, _), factor = node.next_functions
    return noise is None and _leads_to(factor, scale)


def _leads_to(edge: tuple[Any, int], tensor: Tensor) -> bool:
    """Tell whether an edge of the graph is where a tensor's gradient goes; without a gradient there is none."""
    if not tensor.requires_grad:
        return edge[0] is None
    node, place, *_ = get_gradient_edge(tensor)
    return edge[0] is node and edge[1] == place
