"""One way of speaking for Aleator, Pyro and NumPyro, so that a program is stated once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Language", "speak"]


@dataclass(frozen=True)
class Language:
    """What the programs use of a library: its primitives, and of its arrays what is not an operator.

    Attributes:
        array: makes an array of a number or of a numpy array.
        math: the module with ``exp`` and ``tanh`` of arrays.
        scale: the handler that multiplies log-probabilities.
    """

    sample: Callable[..., Any]
    param: Callable[..., Any]
    plate: Callable[..., Any]
    dist: Any
    positive: Any
    array: Callable[[Any], Any]
    math: Any
    scale: Callable[..., Any]


def speak(library: str) -> Language:
    """The language of ``aleator``, ``pyro`` or ``numpyro``; imports that library only."""
    return {"aleator": _aleator, "pyro": _pyro, "numpyro": _numpyro}[library]()


def _aleator() -> Language:
    import torch

    import aleator
    import aleator.distributions as dist

    positive, scale = dist.constraints.positive, aleator.handlers.scale
    return Language(aleator.sample, aleator.param, aleator.plate, dist, positive, _tensor, torch, scale)


def _pyro() -> Language:
    import pyro
    import pyro.distributions as dist
    import torch

    positive, scale = dist.constraints.positive, pyro.poutine.scale
    return Language(pyro.sample, pyro.param, pyro.plate, dist, positive, _tensor, torch, scale)


def _numpyro() -> Language:
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    def array(value: Any) -> Any:  # noqa: ANN401  # a number or an array, to an array of JAX
        return jnp.asarray(value, dtype=jnp.float32)

    positive, scale = dist.constraints.positive, numpyro.handlers.scale
    return Language(numpyro.sample, numpyro.param, numpyro.plate, dist, positive, array, jnp, scale)


def _tensor(value: Any) -> Any:  # noqa: ANN401  # a number or an array, to a tensor
    import torch

    return torch.as_tensor(value, dtype=torch.float32).clone()
