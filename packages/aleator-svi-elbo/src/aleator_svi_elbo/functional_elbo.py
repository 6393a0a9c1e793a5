"""The evidence lower bound's negative as a function of parameters, and losses of that signature as estimators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

import aleator
from aleator.handlers.substitute import SubstituteMessenger
from aleator.infer import AbstractEstimator, Capabilities, Estimate
from aleator.params import ParamStore
from aleator_svi_elbo.trace_elbo import Trace_ELBO

__all__ = ["ElboLikeLoss", "Programs", "elbo", "programs"]

Program = Callable[..., Any]


class Programs(NamedTuple):
    """A model and a guide that are both called with ``(model_args, guide_args)``."""

    model: Program
    guide: Program


def programs(model: Program, guide: Program, kwargs: Mapping[str, Any]) -> Programs:
    """Let each of two programs pick its own arguments."""
    return Programs(partial(_model_side, model, dict(kwargs)), partial(_guide_side, guide, dict(kwargs)))


def _model_side(model: Program, kwargs: dict[str, Any], model_args: tuple[Any, ...], guide_args: Any) -> Any:  # noqa: ANN401  # the programs' own
    return model(*model_args, **kwargs)


def _guide_side(guide: Program, kwargs: dict[str, Any], model_args: Any, guide_args: tuple[Any, ...]) -> Any:  # noqa: ANN401  # the programs' own
    return guide(*guide_args, **kwargs)


def elbo(
    param_map: Mapping[str, Tensor],
    model: Program,
    guide: Program,
    model_args: tuple[Any, ...] = (),
    guide_args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Tensor:
    """Return minus the evidence lower bound, estimated by ``Trace_ELBO`` with one particle.

    Draws come from the context (``aleator.rng``). Works under ``torch.func.grad`` and ``vmap``.

    Args:
        param_map: constrained values by name, of all parameters of both programs.
        model, guide: the programs.
        model_args, guide_args: their arguments.
        kwargs: keywords of both.

    Returns:
        A scalar whose value is the loss and whose gradient is the surrogate's.

    Raises:
        ParameterError: a program has a parameter that ``param_map`` lacks.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator_svi_elbo.functional import elbo
        >>> def model():
        ...     aleator.sample("z", dist.Normal(3.0, 1.0))
        >>> def guide():
        ...     aleator.sample("z", dist.Normal(aleator.param("loc"), 1.0))
        >>> with aleator.rng(0):
        ...     grads = torch.func.grad(elbo)({"loc": torch.tensor(3.0)}, model, guide)
        >>> abs(grads["loc"].item()) < 5.0
        True
    """
    pair = programs(model, guide, {} if kwargs is None else kwargs)
    store = ParamStore()
    with store, store.bind({}), SubstituteMessenger(param_map):
        return Trace_ELBO().differentiable_loss(*pair, tuple(model_args), tuple(guide_args))


@final
@dataclass(frozen=True)
class ElboLikeLoss(AbstractEstimator):
    """A function with the signature of :func:`elbo` as an estimator.

    Args:
        function: called with all constrained parameters that are bound, and with the programs and arguments.
        model, guide, kwargs: what it is called with.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, enumeration=True, vectorized_particles=True, bound="callable"
    )

    function: Callable[..., Any]
    model: Program
    guide: Program
    kwargs: Mapping[str, Any]

    def estimate(self, model: Any, guide: Any, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # the programs' own
        """Call the function on the parameters of the store.

        Raises:
            TypeError, ValueError: it returns no scalar tensor.
        """
        model_args, guide_args = args
        store = aleator.get_param_store()
        params = {name: aleator.param(name) for name in store}
        value = self.function(params, self.model, self.guide, model_args, guide_args, dict(self.kwargs))
        name = getattr(self.function, "__name__", repr(self.function))
        if not isinstance(value, Tensor):
            raise TypeError(f"the loss {name} must return a scalar tensor, but returned {type(value).__name__}")
        if value.dim() != 0:
            raise ValueError(f"the loss {name} must return a scalar, but has shape {tuple(value.shape)}")
        return Estimate(value.detach() if torch.is_grad_enabled() else value, value)
