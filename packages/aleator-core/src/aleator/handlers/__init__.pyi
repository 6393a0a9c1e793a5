# Written by tools/generate_facade.py from the official plugins' manifests; do not edit.

from aleator.handlers.block import block as block
from aleator.handlers.condition import condition as condition
from aleator.handlers.do import do as do
from aleator.handlers.equalize import equalize as equalize
from aleator.handlers.infer_config import infer_config as infer_config
from aleator.handlers.lift import lift as lift
from aleator.handlers.mask import mask as mask
from aleator.handlers.replay import replay as replay
from aleator.handlers.scale import scale as scale
from aleator.handlers.scope import scope as scope
from aleator.handlers.seed import seed as seed
from aleator.handlers.substitute import substitute as substitute
from aleator.handlers.trace import trace as trace
from aleator.handlers.uncondition import uncondition as uncondition
from aleator.markov import markov as markov
from aleator.messenger import Messenger as Messenger
from aleator.plates import plate as plate
from aleator_enum_discrete.enum_messenger import enum as enum
from aleator_enum_discrete.infer_discrete import infer_discrete as infer_discrete

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
