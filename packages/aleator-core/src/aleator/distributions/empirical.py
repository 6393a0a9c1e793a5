"""A weighted sample as a distribution."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.types import _size

from aleator.distributions.arguments import SCALAR, check_arguments
from aleator.distributions.categorical import Categorical
from aleator.distributions.constraints import finite_logits
from aleator.distributions.distribution import Distribution
from aleator.errors import ParameterError

__all__ = ["Empirical"]


@final
class Empirical(Distribution):
    """The distribution of a weighted sample.

    Args:
        samples: values; their leading dims are those of ``log_weights``.
        log_weights: log-weights, which need not be normalized. The last dim runs over the sample, those before it are
            the batch's; the dims of ``samples`` beyond are the event's.
        validate_args: whether to check arguments and shapes; by default as the context says.

    Raises:
        ParameterError: where the leading dims of ``samples`` are not those of ``log_weights``.

    Example:
        >>> import torch
        >>> import aleator.distributions as dist
        >>> d = dist.Empirical(torch.tensor([1.0, 2.0, 2.0]), torch.zeros(3))
        >>> round(d.mean.item(), 4), round(d.log_prob(torch.tensor(2.0)).exp().item(), 4)
        (1.6667, 0.6667)
    """

    has_enumerate_support = True
    argument_names = ("samples", "log_weights")
    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  # torch's protocol

    def __init__(self, samples: Tensor, log_weights: Tensor, validate_args: bool | None = None) -> None:
        dims = log_weights.dim()
        if dims == 0 or samples.shape[:dims] != log_weights.shape:
            raise ParameterError(
                f"Empirical: log_weights of shape {tuple(log_weights.shape)} must have at least one dim, and be the "
                f"leading dims of samples, whose shape is {tuple(samples.shape)}"
            )
        self._samples = samples
        self._log_weights = log_weights
        self._batch_shape = log_weights.shape[:-1]
        self._event_shape = samples.shape[dims:]
        check_arguments(self, validate_args, (("log_weights", finite_logits, log_weights),))

    @property
    def samples(self) -> Tensor:
        """The values: batch dims, then the sample's dim, then event dims."""
        shape = (*self._batch_shape, self.sample_size, *self._event_shape)
        return self._samples if self._samples.shape == shape else self._samples.expand(shape)

    @property
    def log_weights(self) -> Tensor:
        """The normalized log-weights: batch dims, then the sample's dim."""
        return self._index.logits

    @property
    def sample_size(self) -> int:
        """The number of values in the sample."""
        return self._log_weights.shape[-1]

    @property
    def _index(self) -> Categorical:
        """The distribution of the place in the sample."""
        index = Categorical(logits=self._log_weights, validate_args=False)
        return index if index._batch_shape == self._batch_shape else index.expand(self._batch_shape)

    @property
    def support(self) -> constraints.Constraint:
        """The reals: which values have weight, only ``log_prob`` tells."""
        dims = len(self._event_shape)
        return constraints.independent(constraints.real, dims) if dims else constraints.real  # type: ignore[no-untyped-call]  # untyped in torch

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw values by their weights, with replacement."""
        index = self._index.sample(sample_shape)
        place = index.dim()
        index = index.reshape(index.shape + (1,) * (1 + len(self._event_shape)))
        shape = torch.Size(sample_shape) + self._batch_shape
        samples = self.samples.detach().expand(*shape, self.sample_size, *self._event_shape)
        return samples.gather(place, index.expand(*shape, 1, *self._event_shape)).squeeze(place)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the logarithm of the weight of the values that are exactly equal to one value per batch element.

        Raises:
            ValueError: where the value has other dims than batch and event: one value is scored at a time.
        """
        if value.shape != self._batch_shape + self._event_shape:
            raise ValueError(
                f"Empirical scores one value per batch element: expected shape "
                f"{tuple(self._batch_shape + self._event_shape)}, but found {tuple(value.shape)}"
            )
        event_dim = len(self._event_shape)
        equal = self.samples == value.unsqueeze(-1 - event_dim)
        if event_dim:
            equal = equal.flatten(-event_dim).all(-1)
        return (self._index.probs * equal).sum(-1).log()

    def _weighted(self, values: Tensor) -> Tensor:
        event_dim = len(self._event_shape)
        probs = self._index.probs
        return (probs.reshape(probs.shape + (1,) * event_dim) * values).sum(-1 - event_dim)

    def _require_floating(self, what: str) -> None:
        if not self._samples.is_floating_point():
            raise ValueError(
                f"the {what} of an Empirical over {self._samples.dtype} values is not defined; "
                f"convert the samples to a floating dtype, or use log_prob"
            )

    @property
    def mean(self) -> Tensor:
        """The weighted mean; raises ``ValueError`` for integer samples."""
        self._require_floating("mean")
        return self._weighted(self.samples)

    @property
    def variance(self) -> Tensor:
        """The weighted variance; raises ``ValueError`` for integer samples."""
        self._require_floating("variance")
        centre = self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._weighted((self.samples - centre) ** 2)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Return the sample, its own dim first; equal values are not joined, and ``expand`` has no effect."""
        return self.samples.movedim(len(self._batch_shape), 0)
