"""An estimator applied to a model and a guide, as a torch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from aleator import get_param_store
from aleator.infer.step import ParamRecorder

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator

__all__ = ["LossModule"]

Program = Callable[..., Any]


@final
class LossModule(nn.Module):
    """A torch module whose forward is an estimator's differentiable loss.

    Its parameters are the leaves of the context's store that the programs read, under their names with ``.`` replaced
    by ``/``; they are found at once where example arguments are given, else at the first forward.

    Args:
        estimator: any estimator.
        model, guide: the programs.
        example_args, example_kwargs: arguments for a first run that finds the parameters.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import Trace_ELBO
        >>> def model(data):
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> def guide(data):
        ...     aleator.sample("z", dist.Normal(aleator.param("q.loc", torch.tensor(0.0)), 1.0))
        >>> with aleator.ParamStore():
        ...     loss = Trace_ELBO()(model, guide, torch.zeros(3))
        ...     [name for name, _ in loss.named_parameters()]
        ['q/loc']
    """

    def __init__(
        self,
        estimator: AbstractEstimator,
        model: Program,
        guide: Program,
        example_args: tuple[Any, ...] = (),
        example_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.model = model
        self.guide = guide
        if example_args or example_kwargs:
            from aleator import randomness

            with randomness.preserve(), torch.no_grad():
                self.forward(*example_args, **(example_kwargs or {}))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401  # the programs' own arguments
        """Return the differentiable loss."""
        recorder = ParamRecorder()
        with recorder:
            loss = self.estimator.differentiable_loss(self.model, self.guide, *args, **kwargs)
        if self._adopt(recorder.leaves):
            # New parameters have just become this module's own; the loss above hangs on the tensors before them.
            return self.forward(*args, **kwargs)
        return loss

    def _adopt(self, leaves: Mapping[str, Tensor]) -> bool:
        """Register the leaves, as torch parameters; tell whether the store's leaves had to be replaced for it."""
        store = get_param_store()
        replaced = False
        for name, leaf in leaves.items():
            own_name = name.replace(".", "/")
            if self._parameters.get(own_name) is leaf:
                continue
            if not isinstance(leaf, nn.Parameter):
                leaf = store.adopt(name, nn.Parameter(leaf.detach().clone()))
                replaced = True
            self.register_parameter(own_name, leaf)  # type: ignore[arg-type]  # adopt returns the Parameter it was given
        return replaced
