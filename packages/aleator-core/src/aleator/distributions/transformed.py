"""Distributions of a transformed draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions.transforms import ComposeTransform, Transform
from torch.types import _size

from aleator.distributions.arguments import SCALAR
from aleator.distributions.distribution import Distribution
from aleator.distributions.independent import Independent, draw_from, sum_rightmost
from aleator.errors import ParameterError

__all__ = ["ClosedForm", "TransformedDistribution"]


class TransformedDistribution(Distribution, torch_distributions.TransformedDistribution):
    """The distribution of ``transforms(x)`` where ``x`` is drawn from a base distribution.

    Args:
        base_distribution: any distribution, torch's own too.
        transforms: one transform, or several, the first applied first.
        validate_args: whether ``log_prob`` checks shapes; by default as the base does.

    Raises:
        ParameterError: where the base has too few dims for the transforms.

    Example:
        >>> import torch
        >>> import aleator.distributions as dist
        >>> d = dist.TransformedDistribution(dist.Normal(0.0, 1.0), [dist.ExpTransform()])
        >>> bool(torch.isclose(d.log_prob(torch.tensor(2.0)), dist.LogNormal(0.0, 1.0).log_prob(torch.tensor(2.0))))
        True
    """

    def __init__(
        self,
        base_distribution: torch_distributions.Distribution,
        transforms: Transform | list[Transform],
        validate_args: bool | None = None,
    ) -> None:
        transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        for transform in transforms:
            if not isinstance(transform, Transform):
                raise TypeError(f"TransformedDistribution expects transforms, but found {type(transform).__name__}")
        self.transforms = transforms
        base, forward_shape, event_dim = _fit(base_distribution, ComposeTransform(transforms))
        self.base_dist = base
        cut = len(forward_shape) - event_dim
        self._batch_shape = forward_shape[:cut]
        self._event_shape = forward_shape[cut:]
        self._validate_args = base._validate_args if validate_args is None else validate_args

    if TYPE_CHECKING:
        has_rsample: bool  # an attribute of torch's, a property here
    else:

        @property
        def has_rsample(self) -> bool:
            """Whether draws carry a gradient: as the base's do, unless ``has_rsample_`` said otherwise."""
            stated: bool | None = self.__dict__.get("_rsample_stated")
            return self._can_rsample() if stated is None else stated

    def _can_rsample(self) -> bool:
        return bool(self.base_dist.has_rsample)

    def expand(self, batch_shape: _size, _instance: Any = None) -> TransformedDistribution:  # noqa: ANN401  # torch's protocol
        """Return the same distribution over a larger batch shape."""
        new = super().expand(batch_shape, _instance)
        shape = new._batch_shape + self._event_shape
        for transform in reversed(self.transforms):
            shape = transform.inverse_shape(shape)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        new.base_dist = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])
        return new

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw without a gradient."""
        with torch.no_grad():
            return self._forward(draw_from(self.base_dist, sample_shape, reparameterized=False))

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw with the base's gradient, carried through the transforms."""
        return self._forward(draw_from(self.base_dist, sample_shape, reparameterized=True))

    def _forward(self, value: Tensor) -> Tensor:
        for transform in self.transforms:
            value = transform(value)
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density by the change of variables."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape + self._event_shape:
            value = self._aligned(value)
        event_dim = len(self._event_shape)
        volume: Tensor | None = None
        image = value
        for transform in reversed(self.transforms):
            origin = transform.inv(image)
            event_dim += transform.domain.event_dim - transform.codomain.event_dim
            term = transform.log_abs_det_jacobian(origin, image)  # type: ignore[no-untyped-call]  # untyped in torch
            if isinstance(term, Tensor):
                term = sum_rightmost(term, event_dim - transform.domain.event_dim)
            volume = term if volume is None else volume + term
            image = origin
        log_prob = sum_rightmost(self.base_dist.log_prob(image), event_dim - len(self.base_dist.event_shape))
        return log_prob if volume is None else log_prob - volume

    def __repr__(self) -> str:
        if self.argument_names:
            return super().__repr__()
        return f"{type(self).__name__}({self.base_dist}, {self.transforms})"


class ClosedForm(TransformedDistribution):
    """The abstract base of transformed distributions whose density and draws are written out.

    The base distribution and the transforms, by which torch's rules know them, are made when somebody asks.
    """

    def _make_base(self) -> Distribution:
        raise NotImplementedError

    def _make_transforms(self) -> list[Transform]:
        raise NotImplementedError

    if TYPE_CHECKING:
        base_dist: Any  # attributes of torch's, properties here
        transforms: list[Transform]
    else:

        @property
        def base_dist(self) -> Distribution:
            """The distribution before the transforms."""
            base = self._make_base()
            shape = self._batch_shape + self._event_shape
            wanted = shape[: len(shape) - len(base._event_shape)]
            return base if base._batch_shape == wanted else base.expand(wanted)

        @property
        def transforms(self) -> list[Transform]:
            """The transforms that make this distribution out of :attr:`base_dist`."""
            return self._make_transforms()

    def _can_rsample(self) -> bool:
        return True

    def expand(self, batch_shape: _size, _instance: Any = None) -> Any:  # noqa: ANN401  # torch's protocol
        """Return the same distribution over a larger batch shape; no tensor is touched."""
        return Distribution.expand(self, batch_shape, _instance)

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw without a gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape)


def _fit(
    base: torch_distributions.Distribution, transform: ComposeTransform
) -> tuple[torch_distributions.Distribution, torch.Size, int]:
    """Return the base as the transforms need it, the shape of one draw of a batch, and the number of its event dims."""
    shape = base.batch_shape + base.event_shape
    base_event_dim = len(base.event_shape)
    if len(shape) < transform.domain.event_dim:
        raise ParameterError(
            f"the transforms need {transform.domain.event_dim} dim(s), but {type(base).__name__} has batch shape "
            f"{tuple(base.batch_shape)} and event shape {tuple(base.event_shape)}; expand it"
        )
    forward_shape = transform.forward_shape(shape)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    wanted = transform.inverse_shape(forward_shape)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if wanted != shape:
        base = base.expand(wanted[: len(wanted) - base_event_dim])
    missing = transform.domain.event_dim - base_event_dim
    if missing > 0:
        base = Independent(base, missing)
    event_dim = max(
        transform.codomain.event_dim, base_event_dim + transform.codomain.event_dim - transform.domain.event_dim
    )
    return base, forward_shape, event_dim
