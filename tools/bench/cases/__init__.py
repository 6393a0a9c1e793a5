"""The cases, by name and in the order of the table; a new one is a module here and a line below."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.contract import Case

__all__ = ["NAMES", "load"]

NAMES = (
    "weighing",
    "eight_schools",
    "logistic_regression",
    "chain",
    "importance_weighted",
    "bernoulli_chain",
    "mean_field",
    "importance_sampling",
    "gaussian_mixture",
    "hidden_markov",
    "long_chain",
    "viterbi",
    "backward_sampling",
)


def load(name: str) -> Case:
    """The case of that name; ValueError lists the names there are."""
    if name not in NAMES:
        raise ValueError(f"no case is called {name!r}; the cases are {', '.join(NAMES)}")
    case: Case = import_module(f"bench.cases.{name}").CASE
    return case
