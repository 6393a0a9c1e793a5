"""Handlers: what gives the calls of ``sample`` and ``param`` their meaning.

Each is a context manager and a decorator, in a file of its own; plugins add theirs by name.
"""

from __future__ import annotations

from aleator.handlers.mask import mask
from aleator.handlers.trace import trace
from aleator.markov import markov
from aleator.messenger import Messenger
from aleator.plates import plate

__all__ = [
    "Messenger",
    "markov",
    "mask",
    "plate",
    "trace",
]
