"""How the cases that train set their library up: validation, empty store, ``SVI`` with Adam and ``Trace_ELBO``."""

from __future__ import annotations

from collections.abc import Callable

from bench.contract import Program

__all__ = ["in_aleator", "in_pyro"]


def in_aleator(model: Callable[..., object], guide: Callable[..., object], lr: float, validate: bool) -> Program:
    """The eager training step of Aleator."""
    import aleator
    from aleator.infer import SVI, Trace_ELBO
    from aleator.optim import Adam

    aleator.enable_validation(validate)
    aleator.clear_param_store()
    svi = SVI(model, guide, Adam({"lr": lr}), loss=Trace_ELBO())
    return Program(run=svi.step, reading=svi.step, reseed=aleator.set_rng_seed)


def in_pyro(model: Callable[..., object], guide: Callable[..., object], lr: float, validate: bool) -> Program:
    """The eager training step of Pyro."""
    import pyro
    from pyro.infer import SVI, Trace_ELBO
    from pyro.optim import Adam

    pyro.enable_validation(validate)
    pyro.clear_param_store()
    svi = SVI(model, guide, Adam({"lr": lr}), loss=Trace_ELBO())
    return Program(run=svi.step, reading=svi.step, reseed=pyro.set_rng_seed)
