"""Declare that steps of a program depend on a few steps before them only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple, ParamSpec, TypeVar, final, overload

from aleator.loops import LoopTurn, turns
from aleator.messenger import Handled
from aleator.runtime import STACK, apply_stack
from aleator.sites import Site
from aleator.stash import StashKey

__all__ = ["MARKOV_FRAMES", "Markov", "MarkovFrame", "markov"]

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class MarkovFrame(NamedTuple):
    """One markov context around a site.

    Attributes:
        chain: the number of the context's chain: turns of one loop, and calls of one context, share it.
        step: the number of the turn in its chain.
        history: how many earlier steps a site may depend on.
        keep: whether variables of ended steps stay visible to sibling branches.
    """

    chain: int
    step: int
    history: int
    keep: bool


MARKOV_FRAMES: StashKey[tuple[MarkovFrame, ...]] = StashKey("markov_frames")
_chains = count()


@final
class MarkovStep(LoopTurn):
    """One step of a chain: attaches its frame to the sample sites in it."""

    def __init__(self, frame: MarkovFrame) -> None:
        self.frame = frame

    def __enter__(self) -> None:
        super().__enter__()
        apply_stack(Site("markov", f"markov_{self.frame.chain}", lambda: self.frame))

    def process_sample(self, site: Site) -> None:
        """Put this step's frame around a site, outside those already there."""
        site.stash[MARKOV_FRAMES] = (self.frame, *site.stash.get(MARKOV_FRAMES, ()))  # type: ignore[misc]  # a default is given


@final
class Markov:
    """A markov chain as context manager or decorator: each entry is the chain's next step."""

    def __init__(self, history: int, keep: bool) -> None:
        self.chain = next(_chains)
        self.history = history
        self.keep = keep
        self._step = 0
        self._open: list[MarkovStep] = []

    def __enter__(self) -> Markov:
        """Begin the next step of the chain."""
        step = MarkovStep(MarkovFrame(self.chain, self._step, self.history, self.keep))
        step.__enter__()
        self._step += 1
        self._open.append(step)
        return self

    def __exit__(self, *exception: Any) -> None:  # noqa: ANN401  # the three values of the protocol
        """End the step; outside every handler the chain starts anew with the next entry."""
        self._open.pop().__exit__(*exception)
        if not STACK.get():
            self._step = 0

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Return a function each call of which is the chain's next step."""
        return Handled(self, fn)  # type: ignore[arg-type]  # a context manager is all that Handled uses


@overload
def markov(iterable_or_fn: None = None, history: int = 1, keep: bool = False) -> Markov: ...
@overload
def markov(iterable_or_fn: Callable[P, R], history: int = 1, keep: bool = False) -> Callable[P, R]: ...
@overload
def markov(iterable_or_fn: Iterable[T], history: int = 1, keep: bool = False) -> Iterator[T]: ...
def markov(iterable_or_fn: Any = None, history: int = 1, keep: bool = False) -> Any:
    """Declare a markov chain: loop over an iterable, decorate a function, or enter a context step by step.

    Args:
        iterable_or_fn: what to loop over, or the function that is one step; without it, a context manager.
        history: how many earlier steps a step may depend on; 0 declares independent steps.
        keep: keep ended steps visible to sibling branches.

    Raises:
        ValueError: for a negative history.

    Example:
        >>> import aleator
        >>> [t for t in aleator.markov(range(3), history=2)]
        [0, 1, 2]
    """
    if isinstance(history, bool) or not isinstance(history, int) or history < 0:
        raise ValueError(f"markov: history must be 0 or a positive int, but is {history!r}")
    if iterable_or_fn is None:
        return Markov(history, keep)
    if isinstance(iterable_or_fn, Iterable):
        return _loop(iterable_or_fn, history, keep)
    if callable(iterable_or_fn):
        return Markov(history, keep)(iterable_or_fn)
    raise TypeError(f"markov expects an iterable or a function, but found {type(iterable_or_fn).__name__}")


def _loop(items: Iterable[T], history: int, keep: bool) -> Iterator[T]:
    chain = next(_chains)
    return turns((MarkovStep(MarkovFrame(chain, step, history, keep)), item) for step, item in enumerate(items))
