"""Let only part of a distribution's batch count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.types import _size

from aleator.distributions.arguments import SCALAR, broadcast_shapes
from aleator.distributions.distribution import Distribution
from aleator.distributions.independent import draw_from
from aleator.errors import ParameterError

__all__ = ["MaskedDistribution"]


@final
class MaskedDistribution(Distribution):
    """A distribution whose log-probability is zero where a mask is False; its draws are the base's.

    Args:
        base_dist: any distribution.
        mask: True, False, or a boolean tensor that broadcasts with the batch shape (which it may enlarge). Masks on
            masks conjoin.

    Raises:
        ParameterError: where a mask tensor is not boolean, or does not broadcast with the batch shape.

    Example:
        >>> import torch
        >>> import aleator.distributions as dist
        >>> d = dist.Normal(0.0, 1.0).expand((2,)).mask(torch.tensor([True, False]))
        >>> d.log_prob(torch.zeros(2))
        tensor([-0.9189,  0.0000])
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  # torch's protocol

    def __init__(
        self,
        base_dist: torch_distributions.Distribution,
        mask: bool | Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if isinstance(base_dist, MaskedDistribution):
            mask = _conjoin(base_dist._mask, mask)
            base_dist = base_dist.base_dist
        self._batch_shape = base_dist.batch_shape
        if isinstance(mask, Tensor):
            if mask.dtype != torch.bool:
                raise ParameterError(
                    f"the mask of {type(base_dist).__name__} must be boolean, but is {mask.dtype}; write mask.bool()"
                )
            if mask.shape != self._batch_shape:
                base_dist = self._widen(base_dist, mask)
        elif not isinstance(mask, bool):
            raise ParameterError(f"the mask of {type(base_dist).__name__} must be a bool or a tensor, but is {mask!r}")
        self.base_dist: torch_distributions.Distribution = base_dist
        self._mask: bool | Tensor = mask
        self._event_shape = base_dist.event_shape
        self._validate_args = base_dist._validate_args if validate_args is None else validate_args

    def _widen(self, base_dist: torch_distributions.Distribution, mask: Tensor) -> torch_distributions.Distribution:
        try:
            joint = broadcast_shapes(mask.shape, self._batch_shape)
        except RuntimeError as error:
            raise ParameterError(
                f"the mask of shape {tuple(mask.shape)} does not broadcast with the batch shape "
                f"{tuple(self._batch_shape)} of {type(base_dist).__name__}"
            ) from error
        if joint == self._batch_shape:
            return base_dist
        self._batch_shape = joint
        return base_dist.expand(joint)  # type: ignore[no-any-return]  # torch leaves it untyped

    if TYPE_CHECKING:
        has_rsample: bool  # an attribute of torch's, a property here
    else:

        @property
        def has_rsample(self) -> bool:
            """Whether draws carry a gradient: as the base's do, unless ``has_rsample_`` said otherwise."""
            stated: bool | None = self.__dict__.get("_rsample_stated")
            return bool(self.base_dist.has_rsample) if stated is None else stated

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]  # torch declares an attribute
        """Whether the support can be listed: as the base's."""
        return bool(self.base_dist.has_enumerate_support)

    def _can_rsample(self) -> bool:
        return bool(self.base_dist.has_rsample)

    def expand(self, batch_shape: _size, _instance: Any = None) -> MaskedDistribution:  # noqa: ANN401  # torch's protocol
        """Return the same distribution over a larger batch shape; the mask broadcasts with it."""
        new = super().expand(batch_shape, _instance)
        new.base_dist = self.base_dist.expand(new._batch_shape)
        return new

    @property
    def support(self) -> constraints.Constraint | None:
        """The base's support."""
        return self.base_dist.support

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw without a gradient."""
        return draw_from(self.base_dist, sample_shape, reparameterized=False)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw with the base's gradient."""
        return draw_from(self.base_dist, sample_shape, reparameterized=True)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the base's log-probability where the mask is True, and zero elsewhere.

        A mask that is plainly False leaves the base alone.
        """
        mask = self._mask
        if mask is False:
            return self._zeros(value)
        log_prob = self.base_dist.log_prob(value)
        return log_prob if mask is True else torch.where(mask, log_prob, 0.0)

    def _zeros(self, value: Tensor) -> Tensor:
        if value.shape == self._batch_shape and value.is_floating_point() and not self._event_shape:
            return torch.zeros_like(value)
        shape = value.shape[: value.dim() - len(self._event_shape)]
        dtype = value.dtype if value.is_floating_point() else torch.get_default_dtype()
        if shape != self._batch_shape:
            shape = broadcast_shapes(shape, self._batch_shape)
        return torch.zeros(shape, dtype=dtype, device=value.device)

    @property
    def mean(self) -> Tensor:
        """The base's mean."""
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        """The base's mode."""
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        """The base's variance."""
        return self.base_dist.variance

    def cdf(self, value: Tensor) -> Tensor:
        """Return the base's distribution function."""
        return self.base_dist.cdf(value)

    def icdf(self, value: Tensor) -> Tensor:
        """Return the base's quantiles."""
        return self.base_dist.icdf(value)

    def entropy(self) -> Tensor:
        """Return minus the expectation of the masked ``log_prob``: the base's entropy where the mask is True."""
        entropy: Tensor = self.base_dist.entropy()
        if self._mask is True:
            return entropy
        if self._mask is False:
            return torch.zeros_like(entropy)
        return torch.where(self._mask, entropy, 0.0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Return the base's support."""
        return self.base_dist.enumerate_support(expand=expand)

    def __repr__(self) -> str:
        mask = self._mask if isinstance(self._mask, bool) else tuple(self._mask.shape)
        return f"MaskedDistribution({self.base_dist}, mask={mask})"


def _conjoin(first: bool | Tensor, second: bool | Tensor) -> bool | Tensor:
    if first is False or second is False:
        return False
    if first is True:
        return second
    return first if second is True else first & second
