"""A factor in the density, as a distribution of nothing."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.types import _size

from aleator.distributions.arguments import SCALAR, Argument, Broadcast, as_tensor_argument, check_arguments
from aleator.distributions.distribution import Distribution

__all__ = ["Unit"]


@final
class Unit(Distribution):
    """A trivial, unnormalized distribution: its only value is an empty vector, its log-probability a given factor.

    Args:
        log_factor: the log-probability; its shape is the batch shape.
        has_rsample: in a guide, whether the factor depends on the guide's draws only through reparameterized ones.
            ``None`` leaves it open, which a guide may not (see :attr:`states_rsample`).
        validate_args: whether to check arguments and shapes; by default as the context says.

    Example:
        >>> import torch
        >>> import aleator.distributions as dist
        >>> d = dist.Unit(torch.tensor(-1.5))
        >>> d.log_prob(d.sample())
        tensor(-1.5000)
    """

    argument_names = ("log_factor",)
    arg_constraints = {"log_factor": constraints.real}  # noqa: RUF012  # torch's protocol
    support = constraints.real_vector
    log_factor = Broadcast()
    _log_factor: Tensor

    def __init__(
        self, log_factor: Argument, has_rsample: bool | None = None, validate_args: bool | None = None
    ) -> None:
        self._log_factor = factor = as_tensor_argument(self, "log_factor", log_factor)
        self._batch_shape = factor.shape
        self._event_shape = torch.Size((0,))
        if has_rsample is not None:
            self.has_rsample_(has_rsample)
        check_arguments(self, validate_args, (("log_factor", constraints.real, factor),))

    @property
    def states_rsample(self) -> bool:
        """Whether somebody has said how the factor depends on draws."""
        return "_rsample_stated" in self.__dict__

    def _can_rsample(self) -> bool:
        return True

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Return an empty tensor of the shape of a draw."""
        return self._log_factor.new_empty(self._draw_shape(sample_shape))

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Return an empty tensor of the shape of a draw."""
        return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the factor, over the joint shape of value and batch."""
        joint = self._aligned(value).shape[:-1]
        return self._log_factor.expand(joint)
