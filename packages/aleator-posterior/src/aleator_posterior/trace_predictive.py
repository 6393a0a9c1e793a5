"""Predictions as a posterior: the model run again on draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

import torch

from aleator.handlers.trace import TraceMessenger
from aleator.trace import Trace
from aleator_posterior.choice import choose
from aleator_posterior.draws import Draws
from aleator_posterior.replayed_draws import ReplayedDraw
from aleator_posterior.trace_posterior import TracePosterior

__all__ = ["TracePredictive"]


@final
class TracePredictive(TracePosterior):
    """The posterior predictive distribution: the model run on draws that are chosen by weight, with replacement.

    ``run`` takes the model's arguments, which may hold other data than the posterior saw. Local latent sites keep their
    datum: where a plate has the elements that the draw saw, or some of them, each gets its own value; where it has
    others, the model draws these sites anew and an ``AleatorWarning`` says so. The posterior is only read.

    Args:
        model: the program.
        posterior: an algorithm that has run, or its ``Draws``.
        num_samples: how many runs.

    Raises:
        TypeError: ``posterior`` is something else.
        ValueError: ``num_samples`` is not a positive int.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator_posterior import Draws, TracePredictive
        >>> def model(x=None):
        ...     z = aleator.sample("z", dist.Normal(0.0, 1.0))
        ...     return aleator.sample("x", dist.Normal(z, 0.001), obs=x)
        >>> posterior = Draws({"z": torch.tensor([1.0, 5.0])}, torch.tensor([0.0, -1000.0]))
        >>> TracePredictive(model, posterior, 3).run().marginal("x").support()["x"].round()
        tensor([1., 1., 1.])
    """

    def __init__(self, model: Callable[..., Any], posterior: TracePosterior | Draws, num_samples: int) -> None:
        super().__init__()
        if not isinstance(posterior, (TracePosterior, Draws)):
            raise TypeError(f"TracePredictive expects a TracePosterior or Draws, but found {type(posterior).__name__}")
        if type(num_samples) is not int or num_samples < 1:
            raise ValueError(f"TracePredictive: num_samples must be a positive int, but is {num_samples!r}")
        self.model = model
        self.posterior = posterior
        self.num_samples = num_samples

    def _traces(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Trace, float]]:  # noqa: ANN401  # the program's own
        draws = self.posterior if isinstance(self.posterior, Draws) else self.posterior.draws
        traces = draws.traces()
        for place in choose(draws, self.num_samples, "TracePredictive").tolist():
            with torch.no_grad(), ReplayedDraw(traces[place]):
                trace = TraceMessenger()(self.model).get_trace(*args, **kwargs)
            yield trace, 0.0
