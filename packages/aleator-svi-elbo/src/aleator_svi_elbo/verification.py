"""Look at a step's numbers once, before anything is written, and name what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from aleator.errors import NonFiniteError
from aleator_svi_elbo.particle_terms import MeanTerms, terms_by_side

if TYPE_CHECKING:
    from aleator.infer.step import Gradients
    from aleator.validation import PendingChecks

__all__ = ["Numbers", "all_hold", "numbers_of", "verified_loss"]


class Numbers(NamedTuple):
    """The numbers that tell whether a step holds, still on their device.

    Attributes:
        values: the loss, the sum of each gradient, and the flag where there is one; a vector.
        has_flag: whether the last of them says that a check of a value failed.
    """

    values: Tensor
    has_flag: bool


def numbers_of(result: Gradients, checks: PendingChecks) -> Numbers:
    """Join all that a step must be judged by to one vector; reads nothing."""
    loss = result.loss
    probes = [loss, *(grad if grad.dim() == 0 else grad.sum() for grad in result.grads.values())]
    violated = checks.violated(finite_is_known=True) if len(checks) else None
    if violated is not None:
        probes.append(violated)
    joined = torch.stack([probe if probe.dtype is loss.dtype else probe.to(loss) for probe in probes])
    return Numbers(joined, violated is not None)


def all_hold(numbers: list[float], has_flag: bool) -> bool:
    """Tell whether a step holds by its numbers; an infinite loss does while the gradients are finite."""
    if has_flag and numbers[-1]:
        return False
    return not math.isnan(numbers[0]) and all(map(math.isfinite, numbers[1:]))


def verified_loss(result: Gradients, checks: PendingChecks) -> float:
    """Return the loss as a number; the one host read of a step also tells whether everything else holds.

    An infinite loss is returned as it is while the gradients are finite.

    Raises:
        ParameterError, SupportError: an argument outside its constraint, an observed value outside its support.
        NonFiniteError: naming the parameter, the site and its side, or the gradient that is NaN.
    """
    values, has_flag = numbers_of(result, checks)
    numbers = values.tolist()
    value = float(numbers[0])
    if not all_hold(numbers, has_flag):
        _raise_culprit(value, result, checks)
    checks.remember()
    return value


def _raise_culprit(value: float, result: Gradients, checks: PendingChecks) -> None:
    checks.raise_culprit()
    for name, leaf in result.leaves.items():
        found = _first_bad(leaf)
        if found is not None:
            raise NonFiniteError(
                f"parameter {name!r} holds {found}; nothing was updated in this step: set it to a finite value, or "
                f"load an earlier state"
            )
    bad_terms = list(_bad_terms(result.aux))
    if math.isnan(value):
        where = "; ".join(bad_terms) or _unnamed_cause(result.aux)
        raise NonFiniteError(f"the loss is NaN: {where}; nothing was updated in this step")
    for name, grad in result.grads.items():
        found = _first_bad(grad)
        if found is not None:
            where = f" ({'; '.join(bad_terms)})" if bad_terms else ""
            raise NonFiniteError(
                f"the gradient of parameter {name!r} holds {found} while the loss is {value}{where}; nothing was "
                f"updated in this step: look for a log, square root or division at the edge of its domain"
            )


def _unnamed_cause(aux: Mapping[str, Tensor]) -> str:
    if isinstance(aux, MeanTerms) and not aux.is_whole:
        return "a term of an earlier particle is, which is not kept; estimate with num_particles=1 to see which"
    return "no single site's term is, so terms of opposite infinite sign meet"


def _first_bad(tensor: Tensor) -> float | None:
    finite = tensor.detach().isfinite()
    return None if bool(finite.all()) else float(tensor.detach()[~finite].flatten()[0])


def _bad_terms(aux: Mapping[str, Tensor]) -> Iterator[str]:
    for name, side, term in terms_by_side(aux):
        number = float(term)
        if not math.isfinite(number):
            yield f"the log_prob of site {name!r} in the {side} is {number}"
