"""A model's log density as a function of one flat unconstrained vector: the door for Hamiltonian and other samplers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from aleator.distributions import biject_to
from aleator.errors import UnsupportedModelError
from aleator.handlers.trace import TraceMessenger
from aleator.messenger import Messenger
from aleator.scoring import is_deterministic
from aleator.sites import Site

__all__ = ["Potential", "potential"]


@final
@dataclass(frozen=True, slots=True)
class _Slot:
    """Where one latent site lies in the flat vector."""

    name: str
    start: int
    stop: int
    shape: torch.Size
    transform: Transform
    event_dim: int


@final
class _Values(Messenger):
    """Gives latent sites their values, and leaves them latent."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._values = values

    def process_sample(self, site: Site) -> None:
        """Set the value of a site that is laid out in the vector."""
        if site.value is None:
            site.value = self._values.get(site.name)


@final
@dataclass(frozen=True, slots=True)
class Potential:
    """A model's log density over its latent sites, unconstrained and flat.

    Attributes:
        initial: a vector, one draw of the model.
        log_density: maps a vector to the scalar log joint density, the log Jacobian of the transforms included.
        unravel: maps a vector to the latent values by site, in their supports.
    """

    initial: Tensor
    log_density: Callable[[Tensor], Tensor]
    unravel: Callable[[Tensor], dict[str, Tensor]]


def potential(model: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Potential:  # noqa: ANN401  # the programs' own
    """Return the log density of a model on these arguments as a function of a flat vector.

    The sites are laid out as in one run of the model; a model whose latent sites differ between runs is refused when
    its density is asked for.

    Raises:
        UnsupportedModelError: naming the site, where a latent site is discrete, or appears in some runs only.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import potential
        >>> def model():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> round(potential(model).log_density(torch.zeros(1)).item(), 4)
        -0.9189
    """
    with TraceMessenger() as trace, torch.no_grad():
        model(*args, **kwargs)
    slots: list[_Slot] = []
    pieces: list[Tensor] = []
    start = 0
    for name in trace.stochastic_nodes:
        site = trace.nodes[name]
        support = site.fn.support
        if support.is_discrete:
            raise UnsupportedModelError(
                f"potential: latent site {name!r} is discrete ({type(site.fn).__name__}): no density to follow; "
                f"sum it out, or condition on it"
            )
        transform = biject_to(support)
        unconstrained = transform.inv(site.value)
        slots.append(
            _Slot(name, start, start + unconstrained.numel(), unconstrained.shape, transform, len(site.fn.event_shape))
        )
        start += unconstrained.numel()
        pieces.append(unconstrained.reshape(-1))
    initial = torch.cat(pieces) if pieces else torch.zeros(0)

    def unravel(flat: Tensor) -> dict[str, Tensor]:
        return {slot.name: slot.transform(flat[slot.start : slot.stop].reshape(slot.shape)) for slot in slots}

    def log_density(flat: Tensor) -> Tensor:
        values = unravel(flat)
        with TraceMessenger() as run, _Values(values):
            model(*args, **kwargs)
        _check_sites(run.stochastic_nodes, values)
        total = run.log_prob_sum(lambda _, site: not is_deterministic(site))
        for slot in slots:
            unconstrained = flat[slot.start : slot.stop].reshape(slot.shape)
            jacobian = slot.transform.log_abs_det_jacobian(unconstrained, values[slot.name])  # type: ignore[no-untyped-call]  # torch's
            total = total + jacobian.sum()
        return total

    return Potential(initial, log_density, unravel)


def _check_sites(met: list[str], laid_out: Mapping[str, Tensor]) -> None:
    for name in set(met) ^ set(laid_out):
        raise UnsupportedModelError(
            f"potential: latent site {name!r} appears in some runs of the model and not in others, so the flat vector "
            f"has no fixed layout; write the model with a fixed set of latent sites"
        )
