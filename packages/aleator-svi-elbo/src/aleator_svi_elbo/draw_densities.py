"""Log q of large draws as a function of the parameters, without the paths that cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from aleator.distributions import Distribution
from aleator.distributions.own_draws import log_prob_of_draw
from aleator.infer.joint_scoring import MOST_ELEMENTS
from aleator.scoring import KNOWN_LOG_PROB, KnownLogProb, known_log_prob

if TYPE_CHECKING:
    from aleator.trace import Trace

__all__ = ["attach_draw_densities"]


def attach_draw_densities(guide_trace: Trace) -> None:
    """Let large pathwise draws of a guide be scored by what of their density their arguments change.

    For an estimator that differentiates with respect to parameters only: the gradient is the same, since a draw of
    ``loc + noise * scale`` moves with its ``loc``, and its noise stays. Small draws are scored together instead.
    """
    for site in guide_trace.nodes.values():
        value = site.value
        if (
            site.type == "sample"
            and isinstance(value, Tensor)
            and value.numel() > MOST_ELEMENTS
            and value.requires_grad
            and not site.is_observed
            and isinstance(site.fn, Distribution)
            and site.infer.get("gradient") != "score"
            and known_log_prob(site) is None
        ):
            site.stash[KNOWN_LOG_PROB] = KnownLogProb(value, _OfDraw(value), object())


@final
class _OfDraw:
    """Scores one draw; a site of a kind of its own is never scored together with others."""

    __slots__ = ("_value",)

    def __init__(self, value: Tensor) -> None:
        self._value = value

    def __call__(self, fn: Any, _left_dims: int) -> Tensor:  # noqa: ANN401  # any distribution
        return log_prob_of_draw(fn, self._value)
