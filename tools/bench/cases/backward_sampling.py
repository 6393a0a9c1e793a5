"""A joint posterior draw of the states of a long chain."""

from __future__ import annotations

from functools import partial

from bench.cases.long_chain import CHAIN
from bench.contract import Case

__all__ = ["CASE"]

CASE = Case(
    "backward_sampling",
    "forward filter, backward sample on the long chain, infer_discrete",
    {
        "aleator": partial(CHAIN.decoding_in_aleator, temperature=1),
        "pyro": partial(CHAIN.decoding_in_pyro, temperature=1),
    },
    unit="draw",
    mark=0.2,
    # Other draws of the same posterior: mean states differ by their spread.
    tolerance=0.2,
    steps_compared=3,
)
