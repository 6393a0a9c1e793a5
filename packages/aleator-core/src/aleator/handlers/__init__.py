"""Handlers: what gives the calls of ``sample`` and ``param`` their meaning.

Each is a context manager and a decorator, in a file of its own. Those that plugins add (``handlers.enum``) resolve when
they are first used; only the distribution that owns the name is loaded for it.
"""

from __future__ import annotations

from aleator.handlers.block import block
from aleator.handlers.condition import condition
from aleator.handlers.do import do
from aleator.handlers.equalize import equalize
from aleator.handlers.infer_config import infer_config
from aleator.handlers.lift import lift
from aleator.handlers.mask import mask
from aleator.handlers.replay import replay
from aleator.handlers.scale import scale
from aleator.handlers.scope import scope
from aleator.handlers.seed import seed
from aleator.handlers.substitute import substitute
from aleator.handlers.trace import trace
from aleator.handlers.uncondition import uncondition
from aleator.markov import markov
from aleator.messenger import Messenger
from aleator.plates import plate
from aleator.plugins.face import HANDLER, Face

__all__ = [
    "Messenger",
    "block",
    "condition",
    "do",
    "equalize",
    "infer_config",
    "lift",
    "markov",
    "mask",
    "plate",
    "replay",
    "scale",
    "scope",
    "seed",
    "substitute",
    "trace",
    "uncondition",
]

_face = Face(__name__, HANDLER)
__getattr__, __dir__ = _face.attribute, _face.names
