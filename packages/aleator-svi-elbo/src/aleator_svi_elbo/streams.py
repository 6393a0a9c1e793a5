"""Where the streams of randomness that a run draws on stand, to draw the same numbers once more."""

from __future__ import annotations

import random
import sys
from typing import final

from aleator.randomness import RandomSource, current
from aleator.randomness.source import process_generators

__all__ = ["StreamPosition"]


@final
class StreamPosition:
    """The state of the streams that a run draws on, at the moment this is made.

    These are the run's own source or the context's; where there is neither, torch's process generators, ``random`` and
    numpy's. With a source the process's streams are left alone: other threads draw from them.

    Args:
        source: the run's own source, or ``None``.
    """

    __slots__ = ("_numpy", "_own", "_process", "_python", "_source")

    def __init__(self, source: RandomSource | None) -> None:
        self._source = current() if source is None else source
        if self._source is not None:
            self._own = self._source.get_state()
            return
        numpy = sys.modules.get("numpy")
        self._process = {device: generator.get_state() for device, generator in process_generators().items()}
        self._python = random.getstate()
        self._numpy = None if numpy is None else numpy.random.get_state()

    def restore(self) -> None:
        """Put the streams back to where they stood; may be called any number of times."""
        if self._source is not None:
            self._source.set_state(self._own)
            return
        for device, generator in process_generators().items():
            if device in self._process:
                generator.set_state(self._process[device])
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
