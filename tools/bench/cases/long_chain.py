"""A long hidden Markov model: 100 steps, 16 states."""

from __future__ import annotations

from bench.cases.chains import Chain
from bench.contract import Case

__all__ = ["CASE", "CHAIN"]

CHAIN = Chain(steps=100, states=16, sequences=1)
CASE = Case(
    "long_chain",
    "hidden Markov model, T = 100, K = 16",
    {"aleator": CHAIN.training_in_aleator, "pyro": CHAIN.training_in_pyro},
    mark=0.2,
    steps_compared=8,
)
