"""A draw of one category, as an index or as a one-hot vector."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import relaxed_categorical
from torch.distributions.transforms import ExpTransform, Transform
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import SCALAR, Argument, as_argument, check_arguments, constant
from aleator.distributions.constraints import finite_logits, positive, weights
from aleator.distributions.probabilities import CategoryProbabilities, clamp_probs
from aleator.distributions.transformed import ClosedForm

__all__ = [
    "Categorical",
    "ExpRelaxedCategorical",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "RelaxedOneHotCategorical",
    "draw_index",
]


def draw_index(probs: Tensor, shape: torch.Size, sample_shape: _size) -> Tensor:
    """Draw category indices of a shape; the probabilities have the batch shape and the categories last."""
    flat = probs if probs.dim() <= 2 else probs.reshape(-1, probs.shape[-1])
    if not sample_shape:
        return randomness.multinomial(flat, 1).reshape(shape)
    draws = randomness.multinomial(flat, torch.Size(sample_shape).numel())
    return (draws.mT if draws.dim() == 2 else draws).reshape(shape)


@final
class Categorical(CategoryProbabilities, torch_distributions.Categorical):
    """A category from ``0`` to ``K - 1``; the last dim of ``probs`` or ``logits`` has the ``K`` categories.

    Args:
        probs: nonnegative weights, which need not sum to one.
        logits: log-weights, which need not be normalized.
        validate_args: whether to check arguments and shapes; by default as the context says.

    Example:
        >>> import torch
        >>> import aleator.distributions as dist
        >>> dist.Categorical(torch.tensor([1.0, 3.0])).probs
        tensor([0.2500, 0.7500])
    """

    _event_is_category: ClassVar[bool] = False

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._begin_categories(validate_args, probs, logits)

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw indices, of dtype ``int64``."""
        return draw_index(self.probs, self._draw_shape(sample_shape), sample_shape)

    def categories(self) -> Tensor:
        """Return all categories in their order, without batch dims."""
        return torch.arange(self._num_events, device=self._stated().device)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Return all categories along a new leftmost dim; expanded over the batch shape, or with dims of size 1."""
        values = self.categories()
        if not self._batch_shape:
            return values
        values = values.view(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        return self._log_prob_of_index(value)


class OneHotCategorical(CategoryProbabilities, torch_distributions.OneHotCategorical):
    """A category as a vector of ``K`` zeros with a one at its place."""

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._begin_categories(validate_args, probs, logits)

    @property
    def _categorical(self) -> Categorical:  # type: ignore[override]  # torch has an attribute here
        """The distribution of the index."""
        index = Categorical(self._probs, self._logits, validate_args=False)
        return index if index._batch_shape == self._batch_shape else index.expand(self._batch_shape)

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw one-hot vectors, in the dtype of the argument."""
        probs = self.probs.detach()
        shape = self._draw_shape(sample_shape)
        index = draw_index(probs, shape[:-1], sample_shape)
        return torch.zeros_like(probs).expand(shape).scatter(-1, index.unsqueeze(-1), 1.0)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of the place of the one."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape + self._event_shape:
            value = self._aligned(value)
        return self._log_prob_of_index(value.max(-1)[1])


@final
class OneHotCategoricalStraightThrough(OneHotCategorical, torch_distributions.OneHotCategoricalStraightThrough):
    """A one-hot category whose draws carry the gradient of their probabilities (Bengio et al. 2013): biased."""

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw one-hot vectors with the gradient of the probabilities."""
        probs = self.probs
        return self.sample(sample_shape) + (probs - probs.detach())


@final
class ExpRelaxedCategorical(CategoryProbabilities, relaxed_categorical.ExpRelaxedCategorical):
    """The logarithm of a relaxed one-hot draw at a ``temperature`` (Maddison et al. 2017)."""

    def __init__(
        self,
        temperature: Argument,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._temperature = as_argument(self, "temperature", temperature)
        self._begin_categories(validate_args, probs, logits)
        if self._validate_args:
            check_arguments(self, True, (("temperature", positive, self._temperature),))

    @property
    def temperature(self) -> Tensor:  # type: ignore[override]  # torch has an attribute here
        """The temperature, as a tensor."""
        value = self._temperature
        return value if isinstance(value, Tensor) else constant(value, self._like())

    @property
    def _categorical(self) -> Categorical:  # type: ignore[override]  # torch has an attribute here
        """The distribution that is relaxed."""
        index = Categorical(self._probs, self._logits, validate_args=False)
        return index if index._batch_shape == self._batch_shape else index.expand(self._batch_shape)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw log-probabilities with a gradient."""
        logits = self._raw_logits()
        noise = clamp_probs(randomness.uniform(self._draw_shape(sample_shape), like=logits))
        return ((logits - (-noise.log()).log()) / self._temperature).log_softmax(-1)


@final
class RelaxedOneHotCategorical(ClosedForm, torch_distributions.RelaxedOneHotCategorical):
    """A one-hot draw relaxed to the simplex at a ``temperature`` (Maddison et al. 2017; Jang et al. 2017)."""

    argument_names = ("temperature", "probs", "logits")

    def __init__(
        self,
        temperature: Argument,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._base = base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=False)
        self._temperature, self._probs, self._logits = base._temperature, base._probs, base._logits
        self._batch_shape, self._event_shape = base._batch_shape, base._event_shape
        stated = weights if base._given == "probs" else finite_logits
        checks = (("temperature", positive, temperature), (base._given, stated, base._stated()))
        check_arguments(self, validate_args, checks)

    def _make_base(self) -> ExpRelaxedCategorical:
        return self._base

    def _make_transforms(self) -> list[Transform]:
        return [ExpTransform()]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw with a gradient."""
        return self._forward(self.base_dist.rsample(sample_shape))
