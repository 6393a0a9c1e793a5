"""Estimators that are no frozen configurations: for group B, and for what programs see around a call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final
from weakref import WeakKeyDictionary

import torch

from aleator.infer import AbstractEstimator, Capabilities, Estimate, analyse
from aleator_testing.mutants.mutant import Mutant
from aleator_testing.reference import MeanBound, ReferenceELBO

__all__ = ["MUTANTS"]

Program = Callable[..., Any]


@final
@dataclass(frozen=True, repr=False)
class DrawsWhenMade(MeanBound):
    """Draws a random number in its constructor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        torch.rand(())


@final
class TakesAnything(AbstractEstimator):
    """Swallows every keyword."""

    capabilities = ReferenceELBO.capabilities

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  # what is wrong with it
        options = {name: value for name, value in options.items() if name in ReferenceELBO.__dataclass_fields__}
        object.__setattr__(self, "_inner", ReferenceELBO(**options))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Ask the correct one."""
        inner: ReferenceELBO = self._inner  # type: ignore[attr-defined]  # set in the constructor
        return inner.estimate(model, guide, *args, **kwargs)


@final
@dataclass(frozen=True, repr=False)
class RemembersNesting(MeanBound):
    """Writes the nesting that it found for the first model into itself, and uses it for the next."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Look the nesting up once."""
        if self.max_plate_nesting == float("inf"):
            object.__setattr__(self, "max_plate_nesting", analyse(model, guide, *args, **kwargs).nesting)
        return super().estimate(model, guide, *args, **kwargs)


@final
class Settable(AbstractEstimator):
    """Lets its options be changed after construction."""

    capabilities = ReferenceELBO.capabilities

    def __init__(self, num_particles: int = 1) -> None:
        self.num_particles = num_particles

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Ask the correct one."""
        return ReferenceELBO(self.num_particles).estimate(model, guide, *args, **kwargs)


@final
@dataclass(frozen=True, repr=False)
class NotPicklable(MeanBound):
    """Holds a function that has no name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_weigh", lambda value: value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    __hash__ = None  # type: ignore[assignment]  # equality is not what this one is about


@final
@dataclass(frozen=True, repr=False, eq=False)
class StaleCache(MeanBound):
    """Keeps the first programs it saw, as compiled code keyed by the estimator alone would."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Serve the first programs' code."""
        model, guide = _FIRST_PROGRAMS.setdefault(self, (model, guide))
        return super().estimate(model, guide, *args, **kwargs)


_FIRST_PROGRAMS: WeakKeyDictionary[AbstractEstimator, tuple[Program, Program]] = WeakKeyDictionary()


@final
@dataclass(frozen=True, repr=False)
class SharedScratch(MeanBound):
    """Passes the programs on through a place that all threads share."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Write down what to run, look away, and run what is written."""
        _SCRATCH[:] = [model, guide]
        if threading.active_count() > 1:
            time.sleep(1e-3)
        return super().estimate(_SCRATCH[0], _SCRATCH[1], *args, **kwargs)


_SCRATCH: list[Program] = []


@dataclass(frozen=True, repr=False)
class OpenToSubclasses(MeanBound):
    """Is not final."""


@final
@dataclass(frozen=True, repr=False)
class ScoresUndeclared(MeanBound):
    """Declares draws without a path, and no rule for them."""

    capabilities = Capabilities(non_reparam=True, vectorized_particles=True, gradient_rules=frozenset({"pathwise"}))


MUTANTS: tuple[Mutant, ...] = (
    Mutant("draws random numbers when made", DrawsWhenMade, frozenset({"constructor_is_pure"})),
    Mutant("swallows unknown arguments", TakesAnything, frozenset({"constructor_is_pure"})),
    Mutant("changes itself", RemembersNesting, frozenset({"frozen_and_unmutated"})),
    Mutant("can be changed", Settable, frozenset({"frozen_and_unmutated"})),
    Mutant("not picklable", NotPicklable, frozenset({"pickle_deepcopy_repr"})),
    Mutant("stale compile cache", StaleCache, frozenset({"reuse_across_models", "compile_equals_eager"})),
    Mutant("threads share a scratch place", SharedScratch, frozenset({"thread_isolation"})),
    Mutant("not final", OpenToSubclasses, frozenset({"target_resolves"})),
    Mutant("a score capability without a rule", ScoresUndeclared, frozenset({"capabilities_declared"})),
)
