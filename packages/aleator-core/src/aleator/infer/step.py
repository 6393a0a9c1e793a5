"""How one step of optimization goes; nothing else knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.messenger import Messenger
from aleator.optim import as_optimizer
from aleator.params import current_store
from aleator.runtime import Run
from aleator.validation import PendingChecks

if TYPE_CHECKING:
    from aleator.infer.estimator import AbstractEstimator, Program
    from aleator.sites import Site

__all__ = ["Gradients", "ParamRecorder", "differentiate", "pure_step"]

Tensors = Mapping[str, Tensor]
Step = Callable[..., tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]]


@final
class ParamRecorder(Messenger):
    """Notes the parameters whose message reaches the stack: those are a step's parameters.

    Attributes:
        leaves: the unconstrained tensor by name, in the order of first use.
    """

    def __init__(self) -> None:
        self.leaves: dict[str, Tensor] = {}

    def postprocess_param(self, site: Site) -> None:
        """Note the unconstrained tensor behind a parameter, where the store has one."""
        store = current_store()
        if site.name in store:
            self.leaves[site.name] = store.unconstrained(site.name)


class Gradients(NamedTuple):
    """What one evaluation gives to an optimizer.

    Attributes:
        loss: scalar, detached.
        leaves: the parameters that took part, unconstrained.
        grads: their gradients; a parameter on which the surrogate does not depend is left out.
        updates: the next values of buffers.
        aux: the estimator's diagnostics, of its last part.
    """

    loss: Tensor
    leaves: dict[str, Tensor]
    grads: dict[str, Tensor]
    updates: dict[str, Tensor]
    aux: Tensors


def differentiate(
    estimator: AbstractEstimator, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Gradients:
    """Run an estimator and differentiate its surrogate, part by part, without touching ``.grad`` or the store."""
    loss: Tensor | None = None
    grads: dict[str, Tensor] = {}
    updates: dict[str, list[Tensor]] = {}
    aux: Tensors = {}
    recorder = ParamRecorder()
    parts = estimator.estimates(model, guide, *args, **kwargs)
    while True:
        with recorder:
            part = next(parts, None)
        if part is None:
            break
        loss = part.loss if loss is None else loss + part.loss
        aux = part.aux
        _add_gradients(part.surrogate, recorder.leaves, grads)
        for name, value in part.updates.items():
            updates.setdefault(name, []).append(value)
    averaged = {name: values[0] if len(values) == 1 else sum(values) / len(values) for name, values in updates.items()}
    return Gradients(
        torch.zeros(()) if loss is None else loss,
        recorder.leaves,
        grads,
        averaged,  # type: ignore[arg-type]  # a sum of tensors is a tensor
        aux,
    )


def _add_gradients(surrogate: Tensor, leaves: Mapping[str, Tensor], grads: dict[str, Tensor]) -> None:
    if not leaves or not surrogate.requires_grad:
        return
    found = torch.autograd.grad(surrogate, list(leaves.values()), allow_unused=True)
    for name, grad in zip(leaves, found, strict=True):
        if grad is not None:
            grads[name] = grads[name] + grad if name in grads else grad


def _transformed(
    estimator: AbstractEstimator,
    model: Program,
    guide: Program,
    params: Tensors,
    buffers: Tensors,
    args: tuple[Any, ...],
) -> Gradients:
    """Differentiate inside a ``torch.func`` transform, where no tensor can be made a leaf.

    A parameter that the programs meet and the surrogate does not depend on has a gradient of zeros here.
    """
    met: dict[str, Tensor] = {}

    def surrogate(leaves: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, dict[str, Tensor]]]:
        recorder = ParamRecorder()
        with Run(checks=PendingChecks(keep=False)), current_store().bind(leaves, buffers), recorder:
            parts = list(estimator.estimates(model, guide, *args))
        met.update(recorder.leaves)
        updates: dict[str, list[Tensor]] = {}
        for part in parts:
            for name, value in part.updates.items():
                updates.setdefault(name, []).append(value)
        averaged = {name: torch.stack(values).mean(0) for name, values in updates.items()}
        loss = torch.stack([part.loss for part in parts]).sum()
        return torch.stack([part.surrogate for part in parts]).sum(), (loss, averaged)

    grads, (loss, updates) = torch.func.grad(surrogate, has_aux=True)(dict(params))
    names = [name for name in params if name in met]
    return Gradients(loss, {n: params[n] for n in names}, {n: grads[n] for n in names}, updates, {})


def pure_step(estimator: AbstractEstimator, optim: Any, model: Program, guide: Program) -> Step:  # noqa: ANN401  # anything as_optimizer takes
    """Return a step as a pure function of the run's state.

    Args:
        estimator: any estimator.
        optim: an optimizer with a pure form (``aleator.optim``).
        model, guide: the programs.

    Returns:
        ``step(params, opt_state, buffers, args) -> (params, opt_state, buffers, loss)``. ``params`` are unconstrained
        tensors by name; ``args`` are those of the model and the guide. Nothing is read
        from or written to the store but the constraints known for the
        names; values are not validated, since that would read them back. Can be captured by ``make_fx``.

    Raises:
        ValueError: naming the optimizer, where it has no pure form.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> from aleator.infer import AbstractEstimator, Capabilities, Estimate, pure_step
        >>> from aleator.optim import Adam
        >>> class MaximumLikelihood(AbstractEstimator):
        ...     capabilities = Capabilities()
        ...     def estimate(self, model, guide, /, *args, **kwargs):
        ...         loss = -handlers.trace(model).get_trace(*args, **kwargs).log_prob_sum()
        ...         return Estimate(loss.detach(), loss)
        >>> def model(x):
        ...     aleator.sample("x", dist.Normal(aleator.param("loc", torch.tensor(0.0)), 1.0), obs=x)
        >>> adam = Adam(lr=0.1)
        >>> step = pure_step(MaximumLikelihood(), adam, model, lambda x: None)
        >>> params = {"loc": torch.tensor(0.0)}
        >>> params, state, buffers, loss = step(params, adam.init(params), {}, (torch.tensor(3.0),))
        >>> round(params["loc"].item(), 4)
        0.1
    """
    optimizer = as_optimizer(optim)
    if not optimizer.has_pure_form:
        raise ValueError(
            f"{optimizer.name} has no pure form, so a step with it is not a function of its state; "
            f"use one of Adam, AdamW, ClippedAdam, SGD, RMSprop, Adagrad from aleator.optim, or SVI.step"
        )

    def step(
        params: Tensors,
        opt_state: Any,  # noqa: ANN401  # each optimizer's own pytree
        buffers: Tensors,
        args: tuple[Any, ...],
    ) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:
        values = {name: value.detach() for name, value in params.items()}
        if torch._C._functorch.peek_interpreter_stack() is not None:
            result = _transformed(estimator, model, guide, values, buffers, args)
        else:
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            with Run(checks=PendingChecks(keep=False)), current_store().bind(leaves, buffers), torch.enable_grad():
                result = differentiate(estimator, model, guide, args, {})
        with torch.no_grad():
            state = optimizer.join(opt_state, values)
            new_params, new_state = optimizer.update(result.grads, state, values)
        return dict(new_params), new_state, {**buffers, **result.updates}, result.loss

    return step
