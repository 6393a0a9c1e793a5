"""The widely applicable information criterion of weighted draws."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

import torch
from torch import Tensor

from aleator.ops import logsumexp
from aleator_posterior.draws import Draws

__all__ = ["Criterion", "information_criterion"]

Criterion: TypeAlias = "OrderedDict[str, Tensor | dict[str, Tensor]]"


def information_criterion(draws: Draws, pointwise: bool = False) -> Criterion:
    """Return the widely applicable information criterion (WAIC) of draws, on the deviance scale: smaller is better.

    With log-likelihoods ``ll`` and normalized weights ``w`` a datum has ``lpd = log sum(w exp(ll))``, ``p_waic``, the
    weighted variance of ``ll`` times ``n / (n - 1)``, and ``waic = -2 (lpd - p_waic)``. A datum is an element of the
    batch shape of an observed site; what a mask leaves out adds zero; scales are left out on purpose, for they say how
    to extrapolate and not what was seen; factors and deterministic sites are no data. Source: Gelman, Hwang, Vehtari
    (2014), "Understanding predictive information criteria for Bayesian models".

    Args:
        draws: at least two, with log-likelihoods.
        pointwise: return values by datum, in the batch shape of the observed site; where there are several sites, a
            dict by site.

    Returns:
        ``waic`` (the ELPD times -2) and ``p_waic`` (the effective number of parameters).

    Raises:
        ValueError: no observed site, fewer than two draws, or draws that saw different minibatches.

    Example:
        >>> import torch
        >>> from aleator_posterior import Draws
        >>> from aleator_posterior.information import information_criterion
        >>> draws = Draws({}, torch.zeros(2), log_likelihoods={"x": torch.tensor([[-1.0, -2.0], [-1.0, -3.0]])})
        >>> {name: round(value.item(), 4) for name, value in information_criterion(draws).items()}
        {'waic': 7.7598, 'p_waic': 0.5}
    """
    if not len(draws.log_likelihoods):
        raise ValueError("information_criterion: no draw has an observed site; condition the model on its data")
    if len(draws) < 2:
        raise ValueError(f"information_criterion needs at least two draws for a variance, but there are {len(draws)}")
    _refuse_changing_minibatches(draws)
    sites = {name: _waic(draws.log_likelihoods[name], draws.log_weights) for name in draws.log_likelihoods}
    found: Criterion = OrderedDict()
    for place, what in enumerate(("waic", "p_waic")):
        by_site = {name: pair[place] for name, pair in sites.items()}
        if not pointwise:
            found[what] = torch.stack([value.sum() for value in by_site.values()]).sum()
        else:
            found[what] = next(iter(by_site.values())) if len(by_site) == 1 else by_site
    return found


def _waic(log_likelihood: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    count = log_likelihood.shape[0]
    log_weights = log_weights.to(log_likelihood).reshape(count, *(1,) * (log_likelihood.dim() - 1))
    log_weights = log_weights - logsumexp(log_weights, 0, keepdim=True)
    expected = logsumexp(log_likelihood + log_weights, 0)
    weights = log_weights.exp()
    # A draw of weight zero may have log-likelihood -inf: it must not make NaN of the mean.
    log_likelihood = torch.where(weights > 0, log_likelihood, torch.zeros_like(log_likelihood))
    mean = (weights * log_likelihood).sum(0)
    spread = (weights * (log_likelihood - mean).square()).sum(0) * (count / (count - 1))
    return -2 * (expected - spread), spread


def _refuse_changing_minibatches(draws: Draws) -> None:
    for name in draws.log_likelihoods:
        for frame in draws.log_likelihoods.describe(name).frames:
            if frame.size == frame.full_size or frame.name not in draws.subsamples:
                continue
            if draws.subsamples.is_ragged(frame.name) or _rows_differ(draws.subsamples[frame.name]):
                raise ValueError(
                    f"information_criterion: the draws saw different minibatches of plate {frame.name!r} at site "
                    f"{name!r}, so that an element is another datum in each; run the model on all data"
                )


def _rows_differ(indices: Tensor) -> bool:
    return bool((indices != indices[:1]).any())
