"""Expectations without noise: every draw that an estimator makes is forced in turn, and weighted by its probability.

Nothing is known of the estimator: whatever it draws through ``sample`` and ``plate``, in however many runs of the
programs, is a choice; the tree of choices is walked whole. Draws from finite supports run through their values, draws
from a ``Normal`` through the nodes of a Gauss-Hermite rule, minibatches through all subsets.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

import aleator.distributions as dist
from aleator import ParamStore
from aleator.broadcasting import plate_shape
from aleator.handlers import Messenger

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator.sites import Site

__all__ = ["NODES", "Expectation", "exact_expectation"]

Program = Callable[..., Any]

# The three-point rule for the standard normal: exact for polynomials up to degree 5.
NODES = {-math.sqrt(3.0): 1.0 / 6.0, 0.0: 2.0 / 3.0, math.sqrt(3.0): 1.0 / 6.0}
_NODE_VALUES, _NODE_WEIGHTS = torch.tensor([*NODES], dtype=torch.float64), [*NODES.values()]


@final
@dataclass(frozen=True)
class Expectation:
    """What an estimator gives on average.

    Attributes:
        loss: the expected loss.
        gradients: the expected gradient of the surrogate, by parameter (unconstrained).
        runs: how many estimates were made.
        spread: the standard deviation of the loss over the draws.
    """

    loss: Tensor
    gradients: Mapping[str, Tensor]
    runs: int
    spread: Tensor


def exact_expectation(
    estimator: AbstractEstimator,
    model: Program,
    guide: Program,
    /,
    *args: Any,  # noqa: ANN401  # the programs' own
    parameters: Mapping[str, Tensor] | None = None,
    max_runs: int = 50_000,
) -> Expectation:
    """Average an estimator's loss and gradient over all its draws, particles and minibatches.

    Args:
        estimator: any estimator; K looped or vectorized particles are so many more choices.
        model, guide: programs whose draws are ``Normal`` or have a finite support.
        args: the programs' own.
        parameters: unconstrained values by name; by default those that the programs start with.
        max_runs: how many combinations to try before giving up.

    Raises:
        ValueError: a draw that is neither; more than ``max_runs`` combinations; draws that are no function of earlier
            ones, so that the probabilities do not sum to 1.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator_testing.reference import ReferenceELBO
        >>> def model():
        ...     z = aleator.sample("z", dist.Bernoulli(0.5))
        ...     aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(1.0))
        >>> def guide():
        ...     aleator.sample("z", dist.Bernoulli(logits=aleator.param("logit", torch.tensor(0.0))))
        >>> found = exact_expectation(ReferenceELBO(), model, guide)
        >>> found.runs, round(found.gradients["logit"].item(), 3)
        (2, -0.125)
    """
    with ParamStore() as store:
        estimator.estimate(model, guide, *args)  # creates the parameters, and whatever an estimator caches by program
        start = dict(store.named_parameters()) if parameters is None else parameters
        leaves = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
        with store.bind(leaves, dict(store.buffers)):
            return _walk(estimator, model, guide, args, leaves, max_runs)


def _walk(
    estimator: AbstractEstimator,
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    leaves: Mapping[str, Tensor],
    max_runs: int,
) -> Expectation:
    """Visit every leaf of the tree of choices, depth first."""
    choices = _Choices()
    losses, weights = [], []
    gradients = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    while True:
        with _ForcedDraws(choices):
            estimate = estimator.estimate(model, guide, *args)
        losses.append(estimate.loss.detach())
        weights.append(choices.weight)
        if leaves and estimate.surrogate.requires_grad:
            found = torch.autograd.grad(estimate.surrogate, [*leaves.values()], allow_unused=True)
            for (name, total), grad in zip(gradients.items(), found, strict=True):
                if grad is not None:
                    gradients[name] = total + choices.weight * grad
        if not choices.advance():
            break
        if len(losses) >= max_runs:
            raise ValueError(f"{model.__name__} and {guide.__name__}: more than {max_runs} combinations of draws")
    if abs(math.fsum(weights) - 1.0) > 1e-6:
        raise ValueError(
            f"{type(estimator).__name__}: the probabilities of all draws sum to {math.fsum(weights):.6g}, not to 1; "
            f"an estimate must depend on its arguments and its draws alone"
        )
    weight, loss = torch.tensor(weights, dtype=losses[0].dtype), torch.stack(losses)
    mean = (weight * loss).sum()
    return Expectation(mean, gradients, len(losses), (weight * (loss - mean) ** 2).sum().clamp(min=0.0).sqrt())


@final
class _Choices:
    """One way through the tree: at every choice, which of how many alternatives."""

    def __init__(self) -> None:
        self._path: list[list[int]] = []
        self._position = 0
        self.weight = 1.0

    def take(self, count: int) -> int:
        """Return which of ``count`` alternatives this way takes next."""
        if self._position == len(self._path):
            self._path.append([0, count])
        taken, known = self._path[self._position]
        if known != count:
            raise ValueError(f"a draw has {count} alternatives, where it had {known} after the same earlier draws")
        self._position += 1
        return taken

    def advance(self) -> bool:
        """Turn to the next way, and tell whether there is one."""
        del self._path[self._position :]
        self._position, self.weight = 0, 1.0
        while self._path and self._path[-1][0] + 1 == self._path[-1][1]:
            self._path.pop()
        if self._path:
            self._path[-1][0] += 1
        return bool(self._path)


@final
class _ForcedDraws(Messenger):
    """Gives every draw the value that the way through the tree says; it stands outside everything."""

    def __init__(self, choices: _Choices) -> None:
        self._choices = choices

    def process_subsample(self, site: Site) -> None:
        size, count = getattr(site.fn, "size", 0), getattr(site.fn, "subsample_size", 0)
        if site.value is not None or count >= size:
            return
        subsets = list(itertools.combinations(range(size), count))
        site.value = torch.tensor(subsets[self._choices.take(len(subsets))])
        site.done = True
        self._choices.weight /= len(subsets)

    def process_sample(self, site: Site) -> None:
        if site.value is not None or site.done or site.is_observed:
            return
        shape, _ = plate_shape(site.fn.batch_shape, site.frames)
        fn = site.fn if shape == site.fn.batch_shape else site.fn.expand(shape)
        base = fn
        while hasattr(base, "base_dist") and isinstance(base, (dist.Independent, dist.MaskedDistribution)):
            base = base.base_dist
        full = fn.batch_shape + fn.event_shape
        if isinstance(base, dist.Normal):
            picks = [self._choices.take(len(_NODE_WEIGHTS)) for _ in range(full.numel())]
            self._choices.weight *= math.prod(_NODE_WEIGHTS[pick] for pick in picks)
            value = base.loc + base.scale * _NODE_VALUES[picks].reshape(full).to(base.loc)
            site.value = value if fn.has_rsample else value.detach()
        elif base.has_enumerate_support and not base.event_shape:
            support = base.enumerate_support(expand=False).reshape(-1)
            picks = [self._choices.take(len(support)) for _ in range(full.numel())]
            site.value = support[picks].reshape(full)
            self._choices.weight *= base.log_prob(site.value).detach().sum().exp().item()
        else:
            raise ValueError(f"site {site.name!r}: draws from {type(base).__name__} have no finite list of values")
        site.done = True
