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
        markov: a range of steps, each of which depends on the one before.
    """

    sample: Callable[..., Any]
    param: Callable[..., Any]
    plate: Callable[..., Any]
    dist: Any
    array: Callable[[Any], Any]
    math: Any
    scale: Callable[..., Any]
    markov: Callable[[range], Any]

    @property
    def positive(self) -> Any:  # noqa: ANN401  # a library's own
        """The constraint on what is greater than zero."""
        return self.dist.constraints.positive

    @property
    def simplex(self) -> Any:  # noqa: ANN401  # as above
        """The constraint on probabilities that sum to one."""
        return self.dist.constraints.simplex


def speak(library: str) -> Language:
    """The language of ``aleator``, ``pyro`` or ``numpyro``; imports that library only."""
    return {"aleator": _aleator, "pyro": _pyro, "numpyro": _numpyro}[library]()


def _aleator() -> Language:
    import torch

    import aleator
    import aleator.distributions as dist

    scale, markov = aleator.handlers.scale, aleator.markov
    return Language(aleator.sample, aleator.param, aleator.plate, dist, _tensor, torch, scale, markov)


def _pyro() -> Language:
    import pyro
    import pyro.distributions as dist
    import torch

    scale, markov = pyro.poutine.scale, pyro.markov
    return Language(pyro.sample, pyro.param, pyro.plate, dist, _tensor, torch, scale, markov)


def _numpyro() -> Language:
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    def array(value: Any) -> Any:  # noqa: ANN401  # a number or an array, to an array of JAX
        return jnp.asarray(value, dtype=jnp.float32)

    def markov(steps: range) -> Any:  # noqa: ANN401  # an iterator
        from numpyro.contrib.funsor import markov  # needs funsor, as sums over discrete sites do

        return markov(steps)

    scale = numpyro.handlers.scale
    return Language(numpyro.sample, numpyro.param, numpyro.plate, dist, array, jnp, scale, markov)


def _tensor(value: Any) -> Any:  # noqa: ANN401  # a number or an array, to a tensor
    import torch

    return torch.as_tensor(value, dtype=torch.float32).clone()
