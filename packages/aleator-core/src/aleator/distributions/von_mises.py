"""The von Mises distribution of angles."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import SCALAR, Argument, Broadcast, as_kind
from aleator.distributions.distribution import Distribution

__all__ = ["VonMises"]

# A proposal is accepted with probability 0.65 or more, so that 48 in a row fail once in 1e22 draws.
_ROUNDS_AT_ONCE = 48


@final
class VonMises(Distribution, torch_distributions.VonMises):
    """The von Mises distribution of angles around ``loc``, in radians, by Best and Fisher's rejection (1979)."""

    argument_names = ("loc", "concentration")
    _shaped_caches = ("variance",)
    loc = Broadcast()
    _loc: Argument  # type: ignore[assignment]  # torch has a lazy property of this name
    concentration = Broadcast()
    _concentration: Argument  # type: ignore[assignment]  # torch has a lazy property of this name

    def __init__(self, loc: Argument, concentration: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, loc=loc, concentration=concentration)

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw angles in ``[-pi, pi)``.

        Rounds go on until every element has been accepted, which reads a flag on the host; where none can be read
        (``make_fx``, ``vmap``), a fixed number of rounds is drawn at once and the first accepted one taken.
        """
        shape = self._draw_shape(sample_shape)
        with torch.no_grad():
            loc = as_kind(self._loc, self._like())
            concentration = as_kind(self._concentration, self._like()).double()
            ratio = _proposal_ratio(concentration)
            draw = _first_accepted if randomness.is_interpreted() else _until_accepted
            angle = draw(shape, concentration, ratio)
            return ((angle + math.pi + loc.double()) % (2.0 * math.pi) - math.pi).to(loc.dtype)


def _proposal_ratio(concentration: Tensor) -> Tensor:
    """The parameter of the wrapped Cauchy proposal; by its expansion where the concentration is nearly zero."""
    tau = 1.0 + (1.0 + 4.0 * concentration**2).sqrt()
    rho = (tau - (2.0 * tau).sqrt()) / (2.0 * concentration)
    return torch.where(concentration < 1e-5, 1.0 / concentration + concentration, (1.0 + rho**2) / (2.0 * rho))


def _propose(noise: Tensor, concentration: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Return proposed angles, and which of them are accepted; the noise has three uniforms in its first dim."""
    first, second, third = noise.unbind()
    cosine = torch.cos(math.pi * first)
    proposal = (1.0 + ratio * cosine) / (ratio + cosine)
    bound = concentration * (ratio - proposal)
    accepted = (bound * (2.0 - bound) - second > 0) | ((bound / second).log() + 1.0 - bound >= 0)
    return (third - 0.5).sign() * proposal.acos(), accepted


def _until_accepted(shape: torch.Size, concentration: Tensor, ratio: Tensor) -> Tensor:
    angle = torch.zeros(shape, dtype=concentration.dtype, device=concentration.device)
    done = torch.zeros(shape, dtype=torch.bool, device=concentration.device)
    while not bool(done.all()):
        proposed, accepted = _propose(randomness.uniform((3, *shape), like=concentration), concentration, ratio)
        angle = torch.where(accepted, proposed, angle)
        done = done | accepted
    return angle


def _first_accepted(shape: torch.Size, concentration: Tensor, ratio: Tensor) -> Tensor:
    noise = randomness.uniform((3, _ROUNDS_AT_ONCE, *shape), like=concentration)
    proposed, accepted = _propose(noise, concentration, ratio)
    first = accepted.to(torch.uint8).argmax(0, keepdim=True)
    return proposed.gather(0, first).squeeze(0)
