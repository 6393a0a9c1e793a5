"""Aleator: probabilistic programs on PyTorch, a small core with separately installable plugins."""

from __future__ import annotations

from aleator import distributions, handlers, ops, optim, settings
from aleator.handlers import condition, do
from aleator.markov import markov
from aleator.params import ParamStore, clear_param_store, get_param_store
from aleator.plates import plate, plate_stack, subsample
from aleator.primitives import deterministic, factor, module, param, sample
from aleator.randomness import rng, set_rng_seed
from aleator.settings import enable_validation, validation_enabled

__version__ = "0.1.0"

__all__ = [
    "ParamStore",
    "clear_param_store",
    "condition",
    "deterministic",
    "distributions",
    "do",
    "enable_validation",
    "factor",
    "get_param_store",
    "handlers",
    "markov",
    "module",
    "ops",
    "optim",
    "param",
    "plate",
    "plate_stack",
    "rng",
    "sample",
    "set_rng_seed",
    "settings",
    "subsample",
    "validation_enabled",
]
