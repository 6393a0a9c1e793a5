"""Mixtures of one family."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.types import _size

from aleator.distributions.arguments import SCALAR, broadcast_shapes
from aleator.distributions.distribution import Distribution
from aleator.distributions.independent import draw_from
from aleator.errors import ParameterError

__all__ = ["MixtureSameFamily"]


@final
class MixtureSameFamily(Distribution, torch_distributions.MixtureSameFamily):
    """A mixture whose components are the last batch dim of one distribution.

    Args:
        mixture_distribution: a ``Categorical`` over the components.
        component_distribution: a distribution whose last batch dim has the components.
        validate_args: whether ``log_prob`` checks shapes; by default as the components do.

    Raises:
        ParameterError: where the two do not fit each other.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  # torch's protocol

    def __init__(
        self,
        mixture_distribution: torch_distributions.Categorical,
        component_distribution: torch_distributions.Distribution,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, torch_distributions.Categorical):
            raise ParameterError(
                f"MixtureSameFamily expects a Categorical over its components, but found "
                f"{type(mixture_distribution).__name__}"
            )
        if not isinstance(component_distribution, torch_distributions.Distribution):
            raise ParameterError(
                f"MixtureSameFamily expects a distribution of components, but found "
                f"{type(component_distribution).__name__}"
            )
        count = mixture_distribution.param_shape[-1]
        batch = component_distribution.batch_shape
        shapes = f"mixture {tuple(mixture_distribution.param_shape)}, components {tuple(batch)}"
        if not batch or batch[-1] != count:
            raise ParameterError(f"MixtureSameFamily: the last dims must be the components and agree: {shapes}")
        try:
            self._batch_shape = broadcast_shapes(mixture_distribution.batch_shape, batch[:-1])
        except RuntimeError as error:
            raise ParameterError(f"MixtureSameFamily: the batch shapes do not broadcast: {shapes}") from error
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        if batch[:-1] != self._batch_shape:
            self._component_distribution = component_distribution.expand((*self._batch_shape, count))
        self._num_component = count
        self._event_shape = component_distribution.event_shape
        self._event_ndims = len(self._event_shape)
        self._validate_args = component_distribution._validate_args if validate_args is None else validate_args

    def expand(self, batch_shape: _size, _instance: Any = None) -> MixtureSameFamily:  # noqa: ANN401  # torch's protocol
        """Return the same mixture over a larger batch shape."""
        new = super().expand(batch_shape, _instance)
        new._component_distribution = self._component_distribution.expand((*new._batch_shape, self._num_component))
        return new

    @property
    def mixture_distribution(self) -> torch_distributions.Categorical:
        """The distribution of the component's index, over the batch shape."""
        mixture = self._mixture_distribution
        expanded: torch_distributions.Categorical = (
            mixture if mixture.batch_shape == self._batch_shape else mixture.expand(self._batch_shape)  # type: ignore[no-untyped-call]  # untyped in torch
        )
        return expanded

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw a component's index and every component, and keep the one."""
        with torch.no_grad():
            index = draw_from(self.mixture_distribution, sample_shape, reparameterized=False)
            draws = draw_from(self._component_distribution, sample_shape, reparameterized=False)
            place = index.dim()
            index = index.reshape(index.shape + (1,) * (self._event_ndims + 1))
            return draws.gather(place, index.expand(*index.shape[: place + 1], *self._event_shape)).squeeze(place)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape + self._event_shape:
            value = self._aligned(value)
        components = self._component_distribution.log_prob(value.unsqueeze(-1 - self._event_ndims))
        return torch.logsumexp(components + self._mixture_distribution.logits, dim=-1)
