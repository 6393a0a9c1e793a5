"""What every distribution can do beyond torch's: events, masks, expansion, draws from the context's source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.types import _size

from aleator.distributions.arguments import (
    SCALAR,
    as_argument,
    broadcast_shapes,
    check_arguments,
    constant,
    joint_shape,
    require_expandable,
)
from aleator.distributions.event_densities import sum_rightmost

__all__ = ["Distribution", "ExponentialFamily"]


class Distribution(torch_distributions.Distribution):
    """The abstract base of Aleator's distributions, itself a subclass of torch's.

    Subclasses keep their arguments as given and list them in ``argument_names``; ``expand`` then only notes the new
    batch shape. Values are checked by Aleator's own validation, never by torch's: torch's global switch has no effect.
    """

    argument_names: ClassVar[tuple[str, ...]] = ()
    _shaped_caches: ClassVar[tuple[str, ...]] = ()  # what torch's lazy properties leave behind at the old batch shape
    _validate_args = False
    _origin: Distribution | None = None

    def __init__(
        self,
        batch_shape: _size = SCALAR,
        event_shape: _size = SCALAR,
        validate_args: bool | None = None,
    ) -> None:
        if type(self) in (Distribution, ExponentialFamily):
            raise TypeError(f"{type(self).__name__} is abstract: make one of its subclasses")
        self._batch_shape = torch.Size(batch_shape)
        self._event_shape = torch.Size(event_shape)
        stated = [
            (name, constraint, self.__dict__[name])
            for name, constraint in self.arg_constraints.items()
            if name in self.__dict__ and not constraints.is_dependent(constraint)  # type: ignore[no-untyped-call]  # untyped in torch
        ]
        check_arguments(self, validate_args, stated)

    def _begin(self, validate_args: bool | None, /, **arguments: Any) -> None:  # noqa: ANN401  # what users pass
        """Keep elementwise arguments as given, find their batch shape, and note the checks that their class states."""
        state = self.__dict__
        shape: torch.Size | None = None
        agree = True
        for name, value in arguments.items():
            if isinstance(value, Tensor):
                if shape is None:
                    shape = value.shape
                elif value.shape != shape:
                    agree = False
            elif not isinstance(value, float):
                arguments[name] = value = as_argument(self, name, value)
            state["_" + name] = value
        if not agree:
            shape = joint_shape(self, arguments)
        self._batch_shape = SCALAR if shape is None else shape
        self._event_shape = SCALAR
        stated = self.arg_constraints
        check_arguments(self, validate_args, [(name, stated[name], value) for name, value in arguments.items()])

    def __call__(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw, with the gradient where the distribution has one."""
        return self.rsample(sample_shape) if self.has_rsample else self.sample(sample_shape)

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw without a gradient; the shape is ``sample_shape + batch_shape + event_shape``."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def has_rsample_(self, value: bool) -> Self:
        """Switch the gradient of this one instance's draws off, or on again, and return the instance.

        Raises:
            ValueError: for True where the distribution has no reparameterized draw.
        """
        if value and not self._can_rsample():
            raise ValueError(
                f"{type(self).__name__} has no reparameterized draw, so has_rsample_(True) cannot hold; "
                f"a relaxed distribution would have one"
            )
        self.__dict__["_rsample_stated"] = bool(value)
        self.__dict__["has_rsample"] = bool(value)
        return self

    def _can_rsample(self) -> bool:
        return bool(type(self).has_rsample)

    @property
    def origin(self) -> Distribution:
        """The object whose constructor ran: this one, or the one that it was expanded from."""
        return self if self._origin is None else self._origin

    @property
    def event_dim(self) -> int:
        """The number of dims of one draw."""
        return len(self._event_shape)

    def shape(self, sample_shape: _size = SCALAR) -> torch.Size:
        """Return the shape of a draw: ``sample_shape + batch_shape + event_shape``."""
        return torch.Size(sample_shape) + self._batch_shape + self._event_shape

    def expand(self, batch_shape: _size, _instance: Any = None) -> Self:  # noqa: ANN401  # torch's protocol
        """Return the same distribution over a larger batch shape; no tensor is touched.

        Raises:
            ParameterError: where the batch shape does not expand to the one asked for.
        """
        batch_shape = torch.Size(batch_shape)
        require_expandable(self, batch_shape)
        new: Self = object.__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        new._batch_shape = batch_shape
        new._origin = self.origin
        for name in self._shaped_caches:
            new.__dict__.pop(name, None)
        return new

    def expand_by(self, sample_shape: _size) -> Self:
        """Return the distribution with a batch shape that has ``sample_shape`` put on its left."""
        return self.expand(torch.Size(sample_shape) + self._batch_shape)

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> Distribution:
        """Count rightmost batch dims to the event: all of them by default; a negative number takes them back.

        Example:
            >>> import torch
            >>> import aleator.distributions as dist
            >>> d = dist.Normal(torch.zeros(3, 2), 1.0).to_event(1)
            >>> d.batch_shape, d.event_shape
            (torch.Size([3]), torch.Size([2]))
        """
        ndims = len(self._batch_shape) if reinterpreted_batch_ndims is None else reinterpreted_batch_ndims
        return Independent(self, ndims) if ndims else self

    def _event_log_prob(self, value: Tensor, ndims: int) -> Tensor:
        """Return ``log_prob`` summed over so many rightmost dims of the batch, what ``to_event(ndims)`` scores."""
        return sum_rightmost(self.log_prob(value), ndims)

    def _draw_log_prob(self, value: Tensor, ndims: int) -> Tensor:
        """Return the same as ``own_draws.log_prob_of_draw`` wants it."""
        return self._event_log_prob(value, ndims)

    def mask(self, mask: bool | Tensor) -> Distribution:
        """Let only the elements of the batch where ``mask`` is True count in ``log_prob``; masks on masks conjoin."""
        return self if mask is True else MaskedDistribution(self, mask)

    def validate_sample(self, value: Tensor) -> None:
        """Check that a value's shape broadcasts with ``batch_shape + event_shape``; the numbers are not read.

        Raises:
            ValueError: where it does not, naming both shapes.
        """
        if not isinstance(value, Tensor):
            raise ValueError(  # torch raises ValueError here, and people catch it
                f"{type(self).__name__} scores tensors, but found {type(value).__name__}"
            )
        expected = self._batch_shape + self._event_shape
        event_dim = len(self._event_shape)
        fits = event_dim == 0 or value.shape[-event_dim:] == self._event_shape
        if fits:
            for size, wanted in zip(reversed(value.shape), reversed(expected), strict=False):
                if size != wanted and size != 1 and wanted != 1:
                    fits = False
        if not fits:
            raise ValueError(
                f"{type(self).__name__}: a value of shape {tuple(value.shape)} does not fit batch shape "
                f"{tuple(self._batch_shape)} and event shape {tuple(self._event_shape)}"
            )

    def _validate_sample(self, value: Tensor) -> None:
        """What torch's own methods call: the shapes only."""
        self.validate_sample(value)

    def _aligned(self, value: Any) -> Tensor:  # noqa: ANN401  # a tensor, or a number
        """Return a value to score, expanded to its joint shape with the batch and event shapes."""
        if not isinstance(value, Tensor):
            value = constant(value, self._like()) if isinstance(value, float | int) else torch.as_tensor(value)
        if self._validate_args:
            self.validate_sample(value)
        expected = self._batch_shape + self._event_shape
        tensor: Tensor = value
        if tensor.shape == expected:
            return tensor
        joint = broadcast_shapes(tensor.shape, expected)
        return tensor if tensor.shape == joint else tensor.expand(joint)

    def _like(self) -> Tensor | None:
        """The first argument that is a tensor: it decides dtype and device."""
        state = self.__dict__
        for name in self.argument_names:
            value = state.get("_" + name)
            if isinstance(value, Tensor):
                return value
        return None

    def _draw_shape(self, sample_shape: Sequence[int]) -> torch.Size:
        shape = self._batch_shape + self._event_shape if self._event_shape else self._batch_shape
        return torch.Size(sample_shape) + shape if sample_shape else shape

    def __repr__(self) -> str:
        shown = []
        for name in self.argument_names:
            value = self.__dict__.get("_" + name)
            if isinstance(value, Tensor):
                shown.append(f"{name}: {value if value.numel() == 1 else value.size()}")
            elif value is not None:
                shown.append(f"{name}: {value}")
        return f"{type(self).__name__}({', '.join(shown)})"


class ExponentialFamily(Distribution, torch_distributions.ExponentialFamily):
    """The abstract base of distributions that have natural parameters, as torch's of the same name."""


# At the end: both wrappers are themselves distributions.
from aleator.distributions.independent import Independent  # noqa: E402  # see above
from aleator.distributions.masked import MaskedDistribution  # noqa: E402  # see above
