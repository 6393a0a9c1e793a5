"""Give the enumerated sites of a program a joint draw from their posterior, or their most probable values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, final, overload

from aleator import randomness
from aleator.errors import AleatorWarning
from aleator.handlers.block import BlockMessenger
from aleator.handlers.mask import MaskMessenger
from aleator.handlers.scale import ScaleMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.messenger import Messenger
from aleator.runtime import STACK, Run
from aleator.trace import Trace
from aleator.validation import PendingChecks
from aleator_enum_discrete.dependence import needs_parents, note_parents
from aleator_enum_discrete.dim_coloring import DimColoring, with_few_dims
from aleator_enum_discrete.enum_messenger import EnumMessenger
from aleator_enum_discrete.enumerated_dims import DimAllocator
from aleator_enum_discrete.posterior_tables import GivenValues, assign, chosen_values, posterior_tables
from aleator_enum_discrete.program_pair import ProgramPair
from aleator_svi_elbo.tracing import NestingGuard, Pair, SharedSubsample

if TYPE_CHECKING:
    from aleator.sites import Site

__all__ = ["InferDiscrete", "infer_discrete"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def infer_discrete(
    fn: None = None,
    first_available_dim: int | None = None,
    temperature: int = 1,
    *,
    strict_enumeration_warning: bool = True,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def infer_discrete(
    fn: Callable[P, R],
    first_available_dim: int | None = None,
    temperature: int = 1,
    *,
    strict_enumeration_warning: bool = True,
) -> Callable[P, R]: ...
def infer_discrete(
    fn: Callable[..., Any] | None = None,
    first_available_dim: int | None = None,
    temperature: int = 1,
    *,
    strict_enumeration_warning: bool = True,
) -> Any:
    """Run a program on values of its enumerated sites drawn jointly from their posterior, or on the joint maximum.

    Sites marked ``infer={"enumerate": "parallel"}`` are settled given the data and every other value of the run:
    conditioned and replayed ones, and draws. Masks count, for enumerated sites too; scales do not. Of several maxima,
    each sum takes the first index, from the last site to the first. The function runs twice; the handlers around it
    see the second run.

    Args:
        fn: the program; without it, a decorator.
        first_available_dim: the rightmost dim to use, left of all plates and batch dims; found by a run of the program
            where it is not given.
        temperature: 1 for a draw (forward filtering, backward sampling), 0 for the maximum (Viterbi).
        strict_enumeration_warning: warn where no site is marked.

    Raises:
        ValueError: another temperature, or a dim that is not negative.
        UnsupportedModelError: naming a site that is marked sequential, which has no meaning here.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import config_enumerate, infer_discrete
        >>> @infer_discrete(temperature=0)
        ... @config_enumerate
        ... def model(x):
        ...     z = aleator.sample("z", dist.Categorical(torch.tensor([0.6, 0.3, 0.1])))
        ...     aleator.sample("x", dist.Normal(4.0 * z, 1.0), obs=x)
        ...     return z
        >>> model(torch.tensor(4.1))
        tensor(1)
    """
    if isinstance(temperature, bool) or temperature not in (0, 1):
        raise ValueError(f"infer_discrete: temperature must be 0 (maximum) or 1 (draw), but is {temperature!r}")
    first = first_available_dim
    if first is not None and (isinstance(first, bool) or not isinstance(first, int) or first >= 0):
        raise ValueError(
            f"infer_discrete: first_available_dim counts from the right and must be a negative int, but is {first!r}"
        )
    options = {"temperature": temperature, "strict_enumeration_warning": strict_enumeration_warning}
    if fn is None:
        return partial(infer_discrete, first_available_dim=first, **options)
    return InferDiscrete(fn, first, int(temperature), strict_enumeration_warning)


@final
class InferDiscrete(Generic[P, R]):
    """A program whose enumerated sites are settled anew at each call."""

    def __init__(self, fn: Callable[P, R], first_dim: int | None, temperature: int, warns: bool) -> None:
        if not callable(fn):
            raise TypeError(f"infer_discrete expects a function, but found {type(fn).__name__}")
        self.fn = fn
        self._first_dim = first_dim
        self._temperature = temperature
        self._warns = warns
        update_wrapper(self, fn, updated=())  # not fn's attributes: this object has some of its own

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Settle the sites, and run the program on them."""
        first = self._first_dim
        if first is None:
            with _under_values_only():
                first = -_nesting(self.fn, args, kwargs) - 1
        trace, draws, has_enumerated = self._enumerated(first, args, kwargs)
        if not has_enumerated:
            self._warn()
        found = posterior_tables(trace, draws, keeps_masked_laws=False)
        values = chosen_values(trace, found, assign(found, self._temperature)) if found.sites else {}
        kept = {name: value for name, value in values.items() if name in found.sites or name in draws}
        with SharedSubsample((trace,)), GivenValues(kept):
            return self.fn(*args, **kwargs)

    def _enumerated(self, first: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Trace, set[str], bool]:
        """Run the program under enumeration; return the run, what was drawn in it, and whether there was anything."""

        def attempt(coloring: DimColoring | None) -> tuple[Trace, set[str], bool]:
            draws, enumeration = _OwnDraws(), EnumMessenger(DimAllocator(first, coloring))
            with _under_values_only(enumeration, draws), TraceMessenger() as trace, guard:
                self.fn(*args, **kwargs)
            pair = Pair(trace, Trace())
            if coloring is not None or needs_parents(pair):
                with _under_values_only():
                    note_parents(programs, pair)
            return trace, draws.names, enumeration.has_enumerated

        programs = ProgramPair(self.fn, _nothing, args, kwargs)
        guard = NestingGuard("infer_discrete", -first - 1)
        with _under_values_only():
            return with_few_dims(attempt, programs, first)

    def __get__(self, instance: object, owner: type | None = None) -> Any:  # noqa: ANN401  # a bound method
        return self if instance is None else partial(self.__call__, instance)  # type: ignore[arg-type]  # P begins with it

    def _warn(self) -> None:
        if self._warns:
            warnings.warn(
                "infer_discrete found no site to enumerate; mark sites by config_enumerate or by "
                "infer={'enumerate': 'parallel'}, or pass strict_enumeration_warning=False",
                AleatorWarning,
                stacklevel=3,
            )


def _nothing(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # any program's arguments
    """A guide without sites."""


@final
class _OwnDraws(Messenger):
    """Notes which latent sites are drawn by their own law: nobody gives them a value, and nobody enumerates them."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def process_sample(self, site: Site) -> None:
        """Look whether a handler inside has given a value."""
        if site.value is None and not site.done and not site.infer.get("enumerate"):
            self.names.add(site.name)


@contextmanager
def _under_values_only(*handlers: Messenger) -> Iterator[None]:
    """Leave those handlers on the stack that give values and plates; records and weights are for the second run.

    The given handlers stand outside of them, so that they see what is left to draw, but inside of a ``block``, which
    hides sites from what is further out.
    """
    hidden = (TraceMessenger, MaskMessenger, ScaleMessenger, EnumMessenger)
    stack = [handler for handler in STACK.get() if not isinstance(handler, hidden)]
    place = max((index + 1 for index, handler in enumerate(stack) if isinstance(handler, BlockMessenger)), default=0)
    token = STACK.set((*stack[:place], *handlers, *stack[place:]))
    try:
        with Run(checks=PendingChecks(keep=False)):
            yield
    finally:
        STACK.reset(token)


def _nesting(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Return how many dims plates and batch shapes take, by a run that leaves the stream of randomness alone."""
    with randomness.preserve(), TraceMessenger() as trace:
        fn(*args, **kwargs)
    return _width(trace)


def _width(trace: Trace) -> int:
    sites = [site for site in trace.nodes.values() if site.type == "sample"]
    plates = [-frame.dim for site in sites for frame in site.frames if frame.dim is not None]
    return max([*plates, *(len(getattr(site.fn, "batch_shape", ())) for site in sites)], default=0)
