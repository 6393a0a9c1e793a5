"""Declare that steps of a program depend on a few steps before them only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple, ParamSpec, TypeVar, final, overload

from aleator.loops import LoopTurn, turns
from aleator.messenger import handled
from aleator.runtime import RUN, STACK, apply_stack
from aleator.sites import Site
from aleator.stash import StashKey

__all__ = ["Markov", "MarkovFrame", "MarkovStep", "is_visible", "markov"]

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class MarkovFrame(NamedTuple):
    """One markov context around a site.

    Attributes:
        chain: the number of the context's chain: turns of one loop, and entries of one context, share it.
        step: the number of the entry in its chain, unique in a run.
        history: how many earlier steps a site may depend on.
        keep: whether ended sibling branches stay visible.
        path: this step and the last ``history`` ones that lead to it, in order.
        kept: with ``keep``, the ended steps of other branches that lie no further back.
    """

    chain: int
    step: int
    history: int
    keep: bool
    path: tuple[int, ...] = ()
    kept: frozenset[int] = frozenset()

    def sees(self, other: MarkovFrame) -> bool:
        """Whether a site in this step may depend on one in the other step of the same chain."""
        return other.chain == self.chain and (other.step in self.path or other.step in self.kept)


_chains = count()


def is_visible(earlier: Site, site: Site) -> bool:
    """Whether a site may depend on an earlier one: each markov context around the earlier one is live at the site."""
    frames = site.markov_frames
    for past in earlier.markov_frames:
        for frame in frames:
            if frame.chain == past.chain:
                if not frame.sees(past):
                    return False
                break
        else:
            return False
    return True


@final
class MarkovStep(LoopTurn):
    """One step of a chain: attaches its frame to the sample sites in it."""

    def __init__(self, frame: MarkovFrame, depth: int = 0) -> None:
        self.frame = frame
        self.depth = depth

    def __enter__(self) -> None:
        if any("markov" in each.process_table or "markov" in each.postprocess_table for each in STACK.get()):
            apply_stack(Site("markov", f"markov_{self.frame.chain}", lambda: self.frame))
        super().__enter__()

    def process_sample(self, site: Site) -> None:
        """Put this step's frame around a site, unless a step of the same chain lies between."""
        frames = site.markov_frames
        if not frames:
            site.markov_frames = (self.frame,)
        elif all(frame.chain != self.frame.chain for frame in frames):
            site.markov_frames = (self.frame, *frames)


@final
class _Chain:
    """What one run knows of the ended entries of one context."""

    __slots__ = ("ended", "last", "length")

    def __init__(self) -> None:
        self.length = 0
        self.last: MarkovFrame | None = None
        self.ended: dict[int, set[int]] = {}


_CHAINS: StashKey[dict[int, _Chain]] = StashKey("markov_chains")


@final
class Markov:
    """A markov chain as context manager or decorator.

    An entry inside another is its next step, as the calls of a recursive function are; branches of a recursion see
    their common ancestors, and each other where ``keep`` is set. Entries one after the other are the steps of a loop.
    """

    def __init__(self, history: int, keep: bool) -> None:
        self.chain = next(_chains)
        self.history = history
        self.keep = keep

    def __enter__(self) -> Markov:
        """Begin a step of the chain."""
        outer = self._innermost()
        depth = 0 if outer is None else outer.depth + 1
        known = self._known()
        previous = known.last if outer is None else outer.frame
        step = known.length
        path = (*(() if previous is None else previous.path), step)[-self.history - 1 :]
        kept: frozenset[int] = frozenset()
        if self.keep:
            kept = kept.union(*(known.ended.get(back, ()) for back in range(max(0, depth - self.history), depth + 1)))
        frame = MarkovFrame(self.chain, step, self.history, self.keep, path, kept)
        MarkovStep(frame, depth).__enter__()
        known.length += 1
        return self

    def __exit__(self, *exception: Any) -> None:  # noqa: ANN401  # the three values of the protocol
        """End the innermost step."""
        step = self._innermost()
        if step is None:
            return
        known = self._known()
        if step.depth == 0:
            known.last = step.frame
        if self.keep:
            known.ended.setdefault(step.depth, set()).add(step.frame.step)
        step.__exit__(*exception)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Return a function each call of which is a step of the chain."""
        return handled(self, fn)

    def _innermost(self) -> MarkovStep | None:
        for handler in reversed(STACK.get()):
            if type(handler) is MarkovStep and handler.frame.chain == self.chain:
                return handler
        return None

    def _known(self) -> _Chain:
        run = RUN.get()
        if run is None:
            return _Chain()
        chains = run.stash.get(_CHAINS)
        if chains is None:
            chains = run.stash[_CHAINS] = {}
        return chains.setdefault(self.chain, _Chain())


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
    if type(history) is not int or history < 0:
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
    return turns(
        (MarkovStep(MarkovFrame(chain, step, history, keep, tuple(range(max(0, step - history), step + 1)))), item)
        for step, item in enumerate(items)
    )
