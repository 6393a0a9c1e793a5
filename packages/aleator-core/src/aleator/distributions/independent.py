"""Count rightmost batch dims of a distribution to its event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import SCALAR
from aleator.distributions.distribution import Distribution
from aleator.distributions.event_densities import sum_rightmost
from aleator.errors import ParameterError

__all__ = ["Independent", "draw_from", "sum_rightmost"]


def draw_from(base: torch_distributions.Distribution, sample_shape: _size, reparameterized: bool) -> Tensor:
    """Draw from a distribution of any make with the context's source."""
    if isinstance(base, Distribution):
        return base.rsample(sample_shape) if reparameterized else base.sample(sample_shape)
    with randomness.foreign_draw():
        draws: Tensor = base.rsample(sample_shape) if reparameterized else base.sample(sample_shape)
        return draws


@final
class Independent(Distribution, torch_distributions.Independent[Any]):
    """A distribution whose rightmost batch dims belong to one draw.

    Args:
        base_distribution: any distribution, torch's own too.
        reinterpreted_batch_ndims: how many dims; on an ``Independent`` they add to the dims that it already has, and
            a negative number takes dims back.
        validate_args: whether ``log_prob`` checks shapes; by default as the base does.

    Raises:
        ParameterError: where the batch shape has fewer dims.
    """

    def __init__(
        self,
        base_distribution: torch_distributions.Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:
        base = base_distribution
        while isinstance(base, Independent):
            reinterpreted_batch_ndims += base.reinterpreted_batch_ndims
            base = base.base_dist
        batch_shape = base.batch_shape
        cut = len(batch_shape) - reinterpreted_batch_ndims
        if cut < 0 or reinterpreted_batch_ndims < 0:
            raise ParameterError(
                f"to_event on {type(base).__name__}: {reinterpreted_batch_ndims} dims of its batch shape "
                f"{tuple(batch_shape)} cannot become event dims; it has {len(batch_shape)}"
            )
        self.base_dist = base
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self._batch_shape = batch_shape[:cut]
        self._event_shape = batch_shape[cut:] + base.event_shape
        self._validate_args = base._validate_args if validate_args is None else validate_args

    if TYPE_CHECKING:
        has_rsample: bool  # an attribute of torch's, a property here
    else:

        @property
        def has_rsample(self) -> bool:
            """Whether draws carry a gradient: as the base's do, unless ``has_rsample_`` said otherwise."""
            stated: bool | None = self.__dict__.get("_rsample_stated")
            return bool(self.base_dist.has_rsample) if stated is None else stated

    def _can_rsample(self) -> bool:
        return bool(self.base_dist.has_rsample)

    def expand(self, batch_shape: _size, _instance: Any = None) -> Independent:  # noqa: ANN401  # torch's protocol
        """Return the same distribution over a larger batch shape."""
        new = super().expand(batch_shape, _instance)
        new.base_dist = self.base_dist.expand(new._batch_shape + self._event_shape[: self.reinterpreted_batch_ndims])
        return new

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> Distribution:
        """Count further batch dims to the event; see :meth:`Distribution.to_event`."""
        ndims = len(self._batch_shape) if reinterpreted_batch_ndims is None else reinterpreted_batch_ndims
        if ndims + self.reinterpreted_batch_ndims == 0 and isinstance(self.base_dist, Distribution):
            return self.base_dist
        return Independent(self, ndims) if ndims else self

    @property
    def support(self) -> constraints.Constraint | None:
        """The base's support over the whole event."""
        if not self.reinterpreted_batch_ndims:
            return self.base_dist.support  # type: ignore[no-any-return]  # torch leaves it untyped
        return constraints.independent(self.base_dist.support, self.reinterpreted_batch_ndims)  # type: ignore[no-untyped-call]  # untyped in torch

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw without a gradient."""
        return draw_from(self.base_dist, sample_shape, reparameterized=False)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw with the base's gradient."""
        return draw_from(self.base_dist, sample_shape, reparameterized=True)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of a whole event: the base's, summed over the dims that became the event's."""
        base, ndims = self.base_dist, self.reinterpreted_batch_ndims
        if isinstance(base, Distribution):
            return base._event_log_prob(value, ndims)
        return sum_rightmost(base.log_prob(value), ndims)

    def _draw_log_prob(self, value: Tensor, ndims: int) -> Tensor:
        """Hand the question on to the base."""
        base = self.base_dist
        if isinstance(base, Distribution):
            return base._draw_log_prob(value, self.reinterpreted_batch_ndims + ndims)
        return self._event_log_prob(value, ndims)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"
