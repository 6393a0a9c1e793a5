"""From constraints to transforms: registries of Aleator's own, and torch's behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, final

from torch import distributions as torch_distributions
from torch.distributions import constraints, transforms
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]

Factory: TypeAlias = Callable[[Any], Transform]
F = TypeVar("F", bound=Factory)


@final
class ConstraintRegistry:
    """Find the transform from the reals to a constraint.

    Args:
        fallback: torch's registry of the same meaning; it is asked where this one has nothing, and never written to.
    """

    __slots__ = ("_factories", "_fallback")

    def __init__(self, fallback: Callable[[Constraint], Transform]) -> None:
        self._fallback = fallback
        self._factories: dict[type[Constraint], Factory] = {
            type(constraints.real_vector): self._independent,
            constraints.cat: self._cat,
            constraints.stack: self._stack,
        }

    def register(self, constraint: Constraint | type[Constraint], factory: Any = None) -> Any:  # noqa: ANN401  # two forms
        """Register a function from a constraint of this type to a transform; without a function, a decorator."""
        if factory is None:
            return lambda given: self.register(constraint, given)
        kind = type(constraint) if isinstance(constraint, Constraint) else constraint
        if not issubclass(kind, Constraint):
            raise TypeError(f"register expects a constraint or its type, but found {constraint!r}")
        self._factories[kind] = factory
        return factory

    def __call__(self, constraint: Constraint) -> Transform:
        """Return the transform to a constraint.

        Raises:
            NotImplementedError: where nobody has registered one.
        """
        factory = self._factories.get(type(constraint))
        if factory is not None:
            return factory(constraint)
        try:
            return self._fallback(constraint)
        except NotImplementedError:
            raise NotImplementedError(
                f"no transform from the reals to {constraint!r} is registered; "
                f"register one with biject_to.register or transform_to.register"
            ) from None

    def _independent(self, constraint: Any) -> Transform:  # noqa: ANN401  # torch keeps the type private
        return transforms.IndependentTransform(self(constraint.base_constraint), constraint.reinterpreted_batch_ndims)

    def _cat(self, constraint: Any) -> Transform:  # noqa: ANN401  # torch keeps the type private
        return transforms.CatTransform([self(part) for part in constraint.cseq], constraint.dim, constraint.lengths)

    def _stack(self, constraint: Any) -> Transform:  # noqa: ANN401  # torch keeps the type private
        return transforms.StackTransform([self(part) for part in constraint.cseq], constraint.dim)


biject_to = ConstraintRegistry(torch_distributions.biject_to)
transform_to = ConstraintRegistry(torch_distributions.transform_to)
