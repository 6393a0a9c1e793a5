"""Kullback-Leibler divergences: a registry of Aleator's own, and torch's behind it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch import distributions as torch_distributions

from aleator.distributions.arguments import broadcast_shapes
from aleator.distributions.delta import Delta
from aleator.distributions.distribution import Distribution
from aleator.distributions.independent import Independent, sum_rightmost
from aleator.distributions.masked import MaskedDistribution
from aleator.distributions.normal import Normal
from aleator.distributions.transformed import ClosedForm

__all__ = ["kl_divergence", "register_kl"]

Rule: TypeAlias = Callable[[Any, Any], Tensor]
R = TypeVar("R", bound=Rule)

_RULES: dict[tuple[type, type], Rule] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[R], R]:
    """Register a function of two distributions as their divergence; torch's own registry is left alone.

    The most specific pair of types wins, by the first distribution's type, then by the second's.

    Example:
        >>> import torch
        >>> import aleator.distributions as dist
        >>> class Spike(dist.Distribution):
        ...     arg_constraints = {}
        >>> @dist.register_kl(Spike, dist.Normal)
        ... def spike_normal(p, q):
        ...     return torch.tensor(7.0)
        >>> dist.kl_divergence(Spike(), dist.Normal(0.0, 1.0))
        tensor(7.)
    """
    for given in (type_p, type_q):
        if not issubclass(given, torch_distributions.Distribution):
            raise TypeError(f"register_kl expects subclasses of Distribution, but found {given!r}")

    def enter(rule: R) -> R:
        _RULES[type_p, type_q] = rule
        return rule

    return enter


def kl_divergence(p: torch_distributions.Distribution, q: torch_distributions.Distribution) -> Tensor:
    """Return the divergence ``KL(p || q)``, over the joint batch shape.

    Raises:
        NotImplementedError: where neither Aleator nor torch has a rule for the two types.
    """
    rule = _find(type(p), type(q))
    return torch_distributions.kl_divergence(p, q) if rule is None else rule(p, q)


def _find(type_p: type, type_q: type) -> Rule | None:
    """Return the most specific of our rules, by the order in which the types inherit."""
    exact = _RULES.get((type_p, type_q))
    if exact is not None:
        return exact
    found = [pair for pair in _RULES if issubclass(type_p, pair[0]) and issubclass(type_q, pair[1])]
    if not found:
        return None
    order_p, order_q = type_p.__mro__.index, type_q.__mro__.index
    by_first = min(found, key=lambda pair: (order_p(pair[0]), order_q(pair[1])))
    by_second = min(found, key=lambda pair: (order_q(pair[1]), order_p(pair[0])))
    if by_first != by_second and _RULES[by_first] is not _RULES[by_second]:
        warnings.warn(
            f"two divergences fit KL({type_p.__name__} || {type_q.__name__}) equally well, and the one for "
            f"({by_first[0].__name__}, {by_first[1].__name__}) is taken; register one for "
            f"({by_first[0].__name__}, {by_second[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _RULES[by_first]


def _independent(p: torch_distributions.Independent[Any], q: torch_distributions.Independent[Any]) -> Tensor:
    shared = min(p.reinterpreted_batch_ndims, q.reinterpreted_batch_ndims)
    if p.event_shape != q.event_shape:
        raise NotImplementedError(f"KL of event shapes {tuple(p.event_shape)} and {tuple(q.event_shape)}")
    inner_p = _less_event(p, shared)
    inner_q = _less_event(q, shared)
    return sum_rightmost(kl_divergence(inner_p, inner_q), shared)


def _less_event(d: torch_distributions.Independent[Any], ndims: int) -> torch_distributions.Distribution:
    left = d.reinterpreted_batch_ndims - ndims
    base: torch_distributions.Distribution = d.base_dist
    return Independent(base, left) if left else base


def _transformed(
    p: torch_distributions.TransformedDistribution, q: torch_distributions.TransformedDistribution
) -> Tensor:
    if isinstance(p, ClosedForm) or isinstance(q, ClosedForm):
        return torch_distributions.kl_divergence(p, q)
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("KL of distributions that are transformed differently")
    extra = len(p.event_shape) - len(p.base_dist.event_shape)
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), max(extra, 0))


def _masked(p: torch_distributions.Distribution, q: torch_distributions.Distribution) -> Tensor:
    """The expectation under ``p`` of the difference of the two masked log-probabilities.

    Where both count, that is the divergence; where only ``p`` counts, minus its entropy; where only ``q`` does, the
    cross-entropy with ``q``.
    """
    mask_p, base_p = _mask_of(p)
    mask_q, base_q = _mask_of(q)
    shape = broadcast_shapes(p.batch_shape, q.batch_shape)
    if mask_p is False and mask_q is False:
        like = _argument_of(base_p)
        return torch.zeros(shape) if like is None else like.new_zeros(shape)
    if mask_p is mask_q:
        return _where(mask_p, kl_divergence(base_p, base_q)).expand(shape)
    if mask_q is False:
        return -_where(mask_p, base_p.entropy()).expand(shape)
    entropy = base_p.entropy()
    cross = kl_divergence(base_p, base_q) + entropy
    return (_where(mask_q, cross) - _where(mask_p, entropy)).expand(shape)


def _argument_of(d: Any) -> Tensor | None:  # noqa: ANN401  # wrappers of any distribution
    while not isinstance(d, Distribution) or not d.argument_names:
        if not hasattr(d, "base_dist"):
            return None
        d = d.base_dist
    return d._like()


def _mask_of(d: torch_distributions.Distribution) -> tuple[bool | Tensor, torch_distributions.Distribution]:
    return (d._mask, d.base_dist) if isinstance(d, MaskedDistribution) else (True, d)


def _where(mask: bool | Tensor, value: Tensor) -> Tensor:
    if mask is True:
        return value
    return torch.zeros_like(value) if mask is False else torch.where(mask, value, 0.0)


def _delta(p: Delta, q: torch_distributions.Distribution) -> Tensor:
    cross: Tensor = q.log_prob(p.v)
    return p.log_density - cross


def _normal(p: Normal, q: Normal) -> Tensor:
    """The divergence of two normals, with as few kernels as numbers among the arguments allow."""
    ratio = p._scale if _is(q._scale, 1.0) else p._scale / q._scale
    distance = p._loc if _is(q._loc, 0.0) else p._loc - q._loc
    standard = distance if _is(q._scale, 1.0) else distance / q._scale
    shape = broadcast_shapes(p.batch_shape, q.batch_shape)
    if not isinstance(ratio, Tensor) or not isinstance(standard, Tensor):
        like = next((each for each in (ratio, standard) if isinstance(each, Tensor)), p.loc)
        ratio, standard = (torch.as_tensor(each, dtype=like.dtype, device=like.device) for each in (ratio, standard))
    half = torch.addcmul(-0.5 - ratio.log(), ratio, ratio, value=0.5)
    found = torch.addcmul(half, standard, standard, value=0.5)
    return found if found.shape == shape else found.expand(shape)


def _is(argument: object, number: float) -> bool:
    return isinstance(argument, float) and argument == number


_RULES.update(
    {
        (torch_distributions.Independent, torch_distributions.Independent): _independent,
        (torch_distributions.TransformedDistribution, torch_distributions.TransformedDistribution): _transformed,
        (MaskedDistribution, torch_distributions.Distribution): _masked,
        (torch_distributions.Distribution, MaskedDistribution): _masked,
        (MaskedDistribution, MaskedDistribution): _masked,
        (Normal, Normal): _normal,
        (Delta, torch_distributions.Distribution): _delta,
        (Delta, MaskedDistribution): _masked,
    }
)
