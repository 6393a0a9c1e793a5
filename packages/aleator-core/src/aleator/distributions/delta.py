"""A point mass."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.types import _size

from aleator.distributions.arguments import SCALAR, Argument, as_argument, as_tensor_argument, check_arguments
from aleator.distributions.distribution import Distribution
from aleator.errors import ParameterError

__all__ = ["Delta"]


@final
class Delta(Distribution):
    """A distribution that gives one value always.

    Args:
        v: the value, a tensor of batch and event dims.
        log_density: what ``log_prob`` gives at the value: a number, or a tensor that broadcasts to the batch shape.
        event_dim: how many rightmost dims of ``v`` are the event's.
        validate_args: whether to check arguments and shapes; by default as the context says.

    Raises:
        ParameterError: where ``v`` has fewer dims than ``event_dim``, or ``log_density`` does not fit the batch.

    Example:
        >>> import torch
        >>> import aleator.distributions as dist
        >>> dist.Delta(torch.tensor([1.0, 2.0])).log_prob(torch.tensor([1.0, 3.0]))
        tensor([0., -inf])
    """

    has_rsample = True
    argument_names = ("v", "log_density")
    arg_constraints = {"v": constraints.dependent, "log_density": constraints.real}  # noqa: RUF012  # torch's protocol

    def __init__(
        self,
        v: Tensor | float,
        log_density: Argument = 0.0,
        event_dim: int = 0,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(v, Tensor):
            v = as_tensor_argument(self, "v", v)
        shape = v.shape
        cut = len(shape) - event_dim
        if cut < 0 or event_dim < 0:
            raise ParameterError(f"Delta: a value of shape {tuple(shape)} has no {event_dim} event dims")
        self._v = v
        self._log_density = log_density
        self._batch_shape = shape[:cut] if event_dim else shape
        self._event_shape = shape[cut:] if event_dim else SCALAR
        if isinstance(log_density, Tensor) or log_density != 0.0:
            self._check_log_density(validate_args)
        else:
            check_arguments(self, validate_args, ())

    def _check_log_density(self, validate_args: bool | None) -> None:
        self._log_density = density = as_argument(self, "log_density", self._log_density)
        if isinstance(density, Tensor) and density.shape != self._batch_shape:
            try:
                self._log_density = density.expand(self._batch_shape)
            except RuntimeError as error:
                raise ParameterError(
                    f"Delta: log_density of shape {tuple(density.shape)} does not fit batch shape "
                    f"{tuple(self._batch_shape)}"
                ) from error
        check_arguments(self, validate_args, (("log_density", constraints.real, density),))

    @property
    def v(self) -> Tensor:
        """The value, over batch and event shape."""
        shape = self._batch_shape + self._event_shape
        return self._v if self._v.shape == shape else self._v.expand(shape)

    @property
    def log_density(self) -> Tensor:
        """What ``log_prob`` gives at the value, over the batch shape."""
        density = self._log_density
        if not isinstance(density, Tensor):
            dtype = self._v.dtype if self._v.is_floating_point() else torch.get_default_dtype()
            density = torch.full((), density, dtype=dtype, device=self._v.device)
        return density.expand(self._batch_shape)

    @property
    def support(self) -> constraints.Constraint:
        """The reals: where the mass is, only ``log_prob`` tells."""
        dims = len(self._event_shape)
        return constraints.independent(constraints.real, dims) if dims else constraints.real  # type: ignore[no-untyped-call]  # untyped in torch

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Return the value itself, expanded."""
        return self.v.expand(self._draw_shape(sample_shape)) if sample_shape else self.v

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Return the value itself, expanded, without its gradient."""
        return self.rsample(sample_shape).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ``log_density`` where the value is equal, minus infinity elsewhere."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape + self._event_shape:
            value = self._aligned(value)
        equal = value == self._v
        if self._event_shape:
            equal = equal.flatten(-len(self._event_shape)).all(-1)
        return torch.where(equal, self.log_density, -torch.inf)

    @property
    def mean(self) -> Tensor:
        """The value."""
        return self.v

    @property
    def mode(self) -> Tensor:
        """The value."""
        return self.v

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.v)

    def entropy(self) -> Tensor:
        """Return minus the log-density."""
        return -self.log_density
