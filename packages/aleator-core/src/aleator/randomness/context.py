"""Whose randomness a context draws on, and how to change that for a while."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from aleator.randomness.source import RandomSource, process_generators

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["SOURCE", "current", "foreign_draw", "preserve", "rng", "set_rng_seed"]

SOURCE: ContextVar[RandomSource | None] = ContextVar("aleator_random_source", default=None)
_OUTER: ContextVar[tuple[RandomSource | None, ...]] = ContextVar("aleator_outer_random_sources", default=())
_PROCESS_GENERATOR_LOCK = RLock()


def current() -> RandomSource | None:
    """Return the context's source, or ``None`` where draws come from torch's process generator."""
    return SOURCE.get()


@final
class rng:
    """Draw from a source of one's own for the extent of a ``with`` block.

    One object has one stream: entered again, also inside itself or in another thread, it goes on where it was.

    Args:
        source: a seed, a ``torch.Generator`` (used itself), a :class:`RandomSource`, or ``None`` for torch's process
            generator.

    Example:
        >>> import aleator.distributions as dist
        >>> from aleator.randomness import rng
        >>> with rng(0):
        ...     first = dist.Normal(0.0, 1.0)()
        >>> with rng(0):
        ...     bool(dist.Normal(0.0, 1.0)() == first)
        True
    """

    __slots__ = ("source",)

    def __init__(self, source: int | torch.Generator | RandomSource | None) -> None:
        is_source = source is None or isinstance(source, RandomSource)
        self.source: RandomSource | None = source if is_source else RandomSource(source)  # type: ignore[assignment, arg-type]  # is_source narrows it

    def __enter__(self) -> RandomSource | None:
        _OUTER.set((*_OUTER.get(), SOURCE.get()))
        SOURCE.set(self.source)
        return self.source

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outer = _OUTER.get()
        SOURCE.set(outer[-1])
        _OUTER.set(outer[:-1])


def set_rng_seed(seed: int) -> None:
    """Seed torch, ``random``, numpy where something has imported it, and the context's source where there is one."""
    torch.manual_seed(seed)  # noqa: TID251  # the one place that seeds the process
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    source = SOURCE.get()
    if source is not None:
        source.seed(seed)


@contextmanager
def preserve() -> Iterator[None]:
    """Put every stream back at the end of a block: the context's source, torch's, ``random``'s and numpy's."""
    source = SOURCE.get()
    numpy_random = sys.modules.get("numpy.random")  # numpy imports it when it is first asked for, which takes time
    own = None if source is None else source.get_state()
    process = {device: generator.get_state() for device, generator in process_generators().items()}
    python_state = random.getstate()
    numpy_state = None if numpy_random is None else numpy_random.get_state()
    try:
        yield
    finally:
        if source is not None and own is not None:
            source.set_state(own)
        for device, generator in process_generators().items():
            if device in process:
                generator.set_state(process[device])
        random.setstate(python_state)
        if numpy_random is not None:
            numpy_random.set_state(numpy_state)
        elif "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()  # from the system, as it would have been when imported later


@final
class foreign_draw:
    """Let code that only knows torch's process generator draw from the context's source.

    Inside the block the process generator has the source's state, and every draw comes from it, Aleator's own included.
    Afterwards the source goes on from where that left off, and the process generator is as it was. Blocks of several
    threads take turns. Without a source this does nothing.
    """

    __slots__ = ("_saved", "_source")

    def __init__(self) -> None:
        self._source: RandomSource | None = None
        self._saved: list[tuple[torch.Generator, torch.Generator, Tensor]] = []

    def __enter__(self) -> None:
        self._source = SOURCE.get()
        if self._source is None:
            return
        # Made before the lock is taken: the first generator on a device may fail.
        pairs = [(process, self._source.generator(device)) for device, process in process_generators().items()]
        _PROCESS_GENERATOR_LOCK.acquire()
        self._saved = [(process, own, process.get_state()) for process, own in pairs]
        for process, own in pairs:
            process.set_state(own.get_state())
        SOURCE.set(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._source is None:
            return
        for process, own, saved in self._saved:
            own.set_state(process.get_state())
            process.set_state(saved)
        SOURCE.set(self._source)
        _PROCESS_GENERATOR_LOCK.release()
