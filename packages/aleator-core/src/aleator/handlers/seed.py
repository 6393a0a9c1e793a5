"""Give a program a stream of randomness of its own, from a seed."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, final, overload

from aleator.handlers.arguments import settle_arguments
from aleator.messenger import Messenger
from aleator.randomness import rng

__all__ = ["SeedMessenger", "seed"]

P = ParamSpec("P")
R = TypeVar("R")


@final
class SeedMessenger(Messenger):
    """Draw from a new stream in each entry; the outer stream goes on afterwards where it was."""

    def __init__(self, rng_seed: int) -> None:
        if isinstance(rng_seed, bool) or not isinstance(rng_seed, int):
            raise TypeError(f"seed expects an int, but found {type(rng_seed).__name__}")
        self.rng_seed = rng_seed
        self._streams: list[rng] = []

    def __enter__(self) -> SeedMessenger:
        """Begin the stream anew."""
        stream = rng(self.rng_seed)
        super().__enter__()
        stream.__enter__()
        self._streams.append(stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Put the outer stream back."""
        # Which of the list does not matter: a stream that ends gives way to the outer one of its context.
        self._streams.pop().__exit__(kind, error, traceback)
        return super().__exit__(kind, error, traceback)


@overload
def seed(fn: int | None = None, rng_seed: int | None = None) -> SeedMessenger: ...
@overload
def seed(fn: Callable[P, R], rng_seed: int) -> Callable[P, R]: ...
def seed(fn: Any = None, rng_seed: int | None = None) -> Any:
    """Make every run of a program draw the same.

    What torch draws outside sites (a bare ``torch.randn``) is not governed by it; ``aleator.set_rng_seed`` is for that.

    Args:
        fn: the function to handle.
        rng_seed: the seed.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.sample("x", dist.Normal(0.0, 1.0))
        >>> seeded = handlers.seed(model, rng_seed=0)
        >>> bool(seeded() == seeded())
        True
    """
    program, given = settle_arguments("seed", fn, rng_seed, "rng_seed")
    messenger = SeedMessenger(given)
    return messenger if program is None else messenger(program)
