"""The most probable states of a long chain."""

from __future__ import annotations

from functools import partial

from bench.cases.long_chain import CHAIN
from bench.contract import Case

__all__ = ["CASE"]

CASE = Case(
    "viterbi",
    "Viterbi on the long chain, infer_discrete",
    {
        "aleator": partial(CHAIN.decoding_in_aleator, temperature=0),
        "pyro": partial(CHAIN.decoding_in_pyro, temperature=0),
    },
    unit="decoding",
    mark=0.2,
    steps_compared=2,
)
