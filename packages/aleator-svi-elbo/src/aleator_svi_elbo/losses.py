"""Everything that SVI takes as a loss, as an estimator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from aleator.infer import AbstractEstimator, Capabilities, Estimate, get_estimator
from aleator.optim import Optimizer, as_optimizer

__all__ = ["CallableLoss", "as_estimator"]


@final
@dataclass(frozen=True)
class CallableLoss(AbstractEstimator):
    """A function ``(model, guide, *args, **kwargs) -> scalar tensor`` as an estimator.

    Args:
        function: its value is the loss, and its own gradient the gradient.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, enumeration=True, vectorized_particles=True, bound="callable"
    )

    function: Callable[..., Any]

    def estimate(self, model: Any, guide: Any, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # any programs
        """Call the function."""
        value = self.function(model, guide, *args, **kwargs)
        if not isinstance(value, Tensor):
            if torch.is_grad_enabled():
                raise TypeError(
                    f"the loss {self.function!r} returned {type(value).__name__}, which has no gradient; return a "
                    f"scalar tensor, or give SVI a loss_and_grads= as well"
                )
            value = torch.as_tensor(float(value))
        if value.dim() != 0:
            raise ValueError(f"the loss {self.function!r} must return a scalar, but has shape {tuple(value.shape)}")
        return Estimate(value.detach(), value)


def as_estimator(loss: Any) -> AbstractEstimator:  # noqa: ANN401  # any of the forms
    """Return the estimator for an estimator, an estimator's class, a registered name or a callable.

    Raises:
        TypeError: for anything else, an optimizer by name among them.
    """
    if isinstance(loss, AbstractEstimator):
        return loss
    if isinstance(loss, str):
        return get_estimator(loss)()
    if isinstance(loss, type) and issubclass(loss, AbstractEstimator):
        name = loss.__name__
        raise TypeError(f"SVI expects an estimator as loss, but found the class {name}; write {name}()")
    if _is_optimizer(loss):
        name = loss.name if isinstance(loss, Optimizer) else getattr(loss, "__name__", type(loss).__name__)
        raise TypeError(
            f"SVI found an optimizer ({name}) where the loss belongs; the order is SVI(model, guide, optim, loss)"
        )
    if callable(loss):
        return CallableLoss(loss)
    raise TypeError(
        f"SVI expects as loss an estimator (Trace_ELBO()), a registered name ('Trace_ELBO') or a callable "
        f"(model, guide, *args, **kwargs), but found {type(loss).__name__}"
    )


def checked_optimizer(optim: Any) -> Optimizer:  # noqa: ANN401  # any of the forms
    """Return an optimizer, or say that a loss stands in its place.

    Raises:
        TypeError: for anything that is no optimizer.
    """
    is_class = isinstance(optim, type) and issubclass(optim, AbstractEstimator)
    if is_class or isinstance(optim, (AbstractEstimator, str)):
        name = optim if isinstance(optim, str) else getattr(optim, "__name__", type(optim).__name__)
        raise TypeError(
            f"SVI found a loss ({name}) where the optimizer belongs; the order is SVI(model, guide, optim, loss)"
        )
    return as_optimizer(optim)


def _is_optimizer(thing: Any) -> bool:  # noqa: ANN401  # anything at all
    return isinstance(thing, (Optimizer, torch.optim.Optimizer)) or (
        isinstance(thing, type) and issubclass(thing, (Optimizer, torch.optim.Optimizer))
    )
