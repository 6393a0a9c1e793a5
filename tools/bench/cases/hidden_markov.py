"""A hidden Markov model of usual size: 20 steps, 8 states, 32 sequences."""

from __future__ import annotations

from bench.cases.chains import Chain
from bench.contract import Case

__all__ = ["CASE"]

CHAIN = Chain(steps=20, states=8, sequences=32)
CASE = Case(
    "hidden_markov",
    "hidden Markov model, T = 20, K = 8, 32 sequences",
    {"aleator": CHAIN.training_in_aleator, "pyro": CHAIN.training_in_pyro},
    mark=0.5,
)
