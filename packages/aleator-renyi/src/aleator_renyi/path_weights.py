"""Weigh the gradients along the draws of each particle, by weights that are known only after all particles ran."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from aleator.errors import UnsupportedModelError
from aleator.runtime import RUN
from aleator.stash import StashKey

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["attach_path_weights", "weigh_paths"]


@final
class PathWeight:
    """What one particle's gradients along its draws are multiplied by; 1 until it is known."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Tensor | None = None


PATH_WEIGHTS = StashKey[list[PathWeight]]("path weights")


def attach_path_weights(guide_trace: Trace, alpha: float) -> None:
    """Put a weight of its own on the draws of a particle that ask for ``dreg``, as model and densities see them.

    The draws by which the guide continues stay as they are, so that a path through several sites is weighed once.

    Raises:
        UnsupportedModelError: naming the sites, where the rule meets another or an infinite order, so that the gradient
            would be biased.
    """
    names = [name for name, site in guide_trace.nodes.items() if _rule(site) == "dreg"]
    if not names:
        return
    if math.isinf(alpha):
        raise UnsupportedModelError(
            f"guide site {names[0]!r} asks for the gradient rule 'dreg', but at alpha={alpha} the bound is a single "
            f"weight, and which one has no gradient along a path; use 'pathwise' or 'stl', or a finite alpha"
        )
    _check_mixture(guide_trace, names[0])
    run = RUN.get()
    assert run is not None, "particles are traced inside a run"
    if PATH_WEIGHTS not in run.stash:
        run.stash[PATH_WEIGHTS] = []
    weight = PathWeight()
    run.stash[PATH_WEIGHTS].append(weight)
    for name in names:
        site = guide_trace.nodes[name]
        site.value = _Weighed.apply(site.value, weight, len(site.fn.event_shape))  # type: ignore[no-untyped-call]  # torch's


def _rule(site: Site) -> str | None:
    """Return the gradient rule that a draw follows; ``None`` for what is no draw."""
    if site.type != "sample" or site.is_observed:
        return None
    return str(site.infer.get("gradient") or ("pathwise" if site.fn.has_rsample else "score"))


def _check_mixture(guide_trace: Trace, first: str) -> None:
    """Refuse other rules on draws whose path may cross that of a ``dreg`` site: a path has one weight."""
    earlier = True
    for name, site in guide_trace.nodes.items():
        rule = _rule(site)
        earlier = earlier and name != first
        if rule in ("pathwise", "stl"):
            raise UnsupportedModelError(
                f"guide site {first!r} asks for the gradient rule 'dreg', but site {name!r} has {rule!r}; a path "
                f"through both would be weighed wrongly: give 'dreg' to every reparameterized site of the guide"
            )
        if rule in ("score", "vimco") and not earlier:
            raise UnsupportedModelError(
                f"guide site {first!r} asks for the gradient rule 'dreg', but the score-function site {name!r} comes "
                f"after it and may depend on it; sample {name!r} first, or use 'pathwise' for {first!r}"
            )


def weigh_paths(weights: Tensor) -> None:
    """Give every particle of this run its weight: ``weights`` has the particles on dim 0, then the common plates."""
    run = RUN.get()
    assert run is not None, "particles are folded inside a run"
    found = run.stash[PATH_WEIGHTS]
    # Vectorized particles are one run of the programs, with a dim of their own in every draw.
    for index, weight in enumerate(found):
        weight.value = weights if len(found) == 1 and weights.shape[0] > 1 else weights[index]


@final
class _Weighed(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a weight that arrives later."""

    generate_vmap_rule = True

    @staticmethod
    def forward(draw: Tensor, weight: PathWeight, event_dim: int) -> Tensor:
        """Return the draw, as a tensor of its own."""
        return draw.view_as(draw)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, PathWeight, int], output: Tensor) -> None:  # noqa: ANN401  # torch's
        """Keep where the weight will be found."""
        _, ctx.weight, ctx.event_dim = inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ANN401  # torch's protocol
        """Multiply the gradient by the weight."""
        (gradient,) = gradients
        weight = ctx.weight.value
        if weight is not None:
            gradient = gradient * weight[(..., *(None,) * ctx.event_dim)].to(gradient.dtype)
        return gradient, None, None
